// SPDX-License-Identifier: Apache-2.0
//
// The kernels of RowKernels.h, to be included once by each instruction set's file.
//
// exp(x) = 2^n * exp(r), n = round(x / ln 2), r = x - n ln 2 in [-0.347, 0.347] with ln 2 split in
// two so that n * high is exact; exp(r) by its Taylor polynomial of degree 7, whose error there is
// below 1e-8.

#include <stddef.h>

enum { lanes = 16 };

RG_INLINE float exp_value(float x) {
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.0f ? 88.0f : x;
  // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
  float shifted = x * 1.44269504f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  uint32_t power = (bits_from_float(shifted) + 127u) << 23;
  return p * float_from_bits(power);
}

static void exp_row(float *values, size_t count) {
  for (size_t i = 0; i < count; i++) values[i] = exp_value(values[i]);
}

static void silu_product(float *restrict gate, const float *restrict up, size_t count) {
  for (size_t i = 0; i < count; i++) {
    gate[i] = gate[i] / (1.0f + exp_value(-gate[i])) * up[i];
  }
}

static void clamped_swiglu(
    float *restrict gate, const float *restrict up, float alpha, float limit, size_t count) {
  for (size_t i = 0; i < count; i++) {
    float g = gate[i] > limit ? limit : gate[i];
    // A limit below 0 is what torch's clamp makes of it: every u is the limit.
    float u = up[i] < -limit ? -limit : up[i];
    u = u > limit ? limit : u;
    gate[i] = (u + 1.0f) * (g / (1.0f + exp_value(-alpha * g)));
  }
}

// gelu(g) by tanh is g * sigmoid(2 sqrt(2/pi) (g + 0.044715 g^3)).
static void gelu_product(float *restrict gate, const float *restrict up, size_t count) {
  for (size_t i = 0; i < count; i++) {
    float g = gate[i];
    float inner = 1.59576912f * (g + 0.044715f * (g * g * g));
    gate[i] = g / (1.0f + exp_value(-inner)) * up[i];
  }
}

// limit * tanh(x / limit), tanh(t) = 1 - 2 / (1 + exp(2t)); small values, of which that
// would lose digits, by their series.
static void soft_cap_row(float *values, float limit, size_t count) {
  float scale = 1.0f / limit;
  for (size_t i = 0; i < count; i++) {
    float t = values[i] * scale, s = t * t;
    float series = t * (1.0f + s * (-1.0f / 3 + s * (2.0f / 15 + s * (-17.0f / 315))));
    float whole = 1.0f - 2.0f / (1.0f + exp_value(2.0f * t));
    // t - t is NaN for infinity, which a weight that is not finite may have made.
    values[i] = limit * (s < 0.01f ? series : whole + (t - t));
  }
}

RG_INLINE float lane_sum(const float *lane) {
  float sum[lanes];
  for (int j = 0; j < lanes; j++) sum[j] = lane[j];
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; j++) sum[j] += sum[j + width];
  }
  return sum[0];
}

RG_INLINE double lane_sum_double(const double *lane) {
  double sum[lanes];
  for (int j = 0; j < lanes; j++) sum[j] = lane[j];
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; j++) sum[j] += sum[j + width];
  }
  return sum[0];
}

RG_INLINE float lane_max(const float *lane) {
  float largest[lanes];
  for (int j = 0; j < lanes; j++) largest[j] = lane[j];
  for (int width = lanes / 2; width > 0; width /= 2) {
    for (int j = 0; j < width; j++) {
      largest[j] = largest[j + width] > largest[j] ? largest[j + width] : largest[j];
    }
  }
  return largest[0];
}

static float max_row(const float *values, size_t count) {
  float lane[lanes];
  for (int j = 0; j < lanes; j++) lane[j] = -__builtin_inff();
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (int j = 0; j < lanes; j++) lane[j] = values[i + j] > lane[j] ? values[i + j] : lane[j];
  }
  for (; i < count; i++) lane[0] = values[i] > lane[0] ? values[i] : lane[0];
  return lane_max(lane);
}

static void softmax_row(float *values, float scale, float sink, size_t count) {
  float largest = max_row(values, count);
  // By how much the sink is above the largest score.
  float above = sink - scale * largest;
  float shift = above > 0.0f ? above : 0.0f;
  float lane[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (int j = 0; j < lanes; j++) {
      float value = exp_value(scale * (values[i + j] - largest) - shift);
      values[i + j] = value;
      lane[j] += value;
    }
  }
  for (; i < count; i++) {
    values[i] = exp_value(scale * (values[i] - largest) - shift);
    lane[0] += values[i];
  }
  float factor = 1.0f / (lane_sum(lane) + exp_value(above - shift));
  for (i = 0; i < count; i++) values[i] *= factor;
}

static float rms_norm_row(
    const float *source, const float *weight, float epsilon, float *result, size_t count) {
  float lane[lanes] = {0};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (int j = 0; j < lanes; j++) lane[j] += source[i + j] * source[i + j];
  }
  for (; i < count; i++) lane[0] += source[i] * source[i];
  float sum = lane_sum(lane);
  float factor = 1.0f / __builtin_sqrtf(sum / (float)count + epsilon);
  for (i = 0; i < count; i++) result[i] = source[i] * factor * weight[i];
  return sum;
}

static void add_scaled_row(
    float *restrict target, const float *restrict source, float factor, size_t count) {
  for (size_t i = 0; i < count; i++) target[i] += factor * source[i];
}

static void add_products_row(
    float *restrict target, const float *restrict source, const float *restrict factors,
    size_t count) {
  for (size_t i = 0; i < count; i++) target[i] += source[i] * factors[i];
}

static void sigmoid_product(float *values, const float *gate, size_t count) {
  for (size_t i = 0; i < count; i++) values[i] = values[i] / (1.0f + exp_value(-gate[i]));
}

// Sums over lanes in double: TERM is the i-th term.
#define RG_SUM(TERM)                                          \
  double lane[lanes] = {0};                                   \
  size_t i = 0;                                               \
  for (; i + lanes <= count; i += lanes) {                    \
    for (int j = 0; j < lanes; j++) lane[j] += TERM(i + j);   \
  }                                                           \
  for (; i < count; i++) lane[0] += TERM(i);                  \
  return lane_sum_double(lane)

static double sum_exp_row(const float *values, float shift, size_t count) {
#define RG_TERM(k) (double)exp_value(values[k] - shift)
  RG_SUM(RG_TERM);
#undef RG_TERM
}

static double sum_exp_difference_row(
    const float *values, const float *others, float shift, size_t count) {
#define RG_TERM(k) (double)exp_value(values[k] - shift) * (double)(values[k] - others[k])
  RG_SUM(RG_TERM);
#undef RG_TERM
}

static double sum_squares_row(const float *values, size_t count) {
#define RG_TERM(k) (double)values[k] * (double)values[k]
  RG_SUM(RG_TERM);
#undef RG_TERM
}

static double sum_squared_differences_row(
    const float *values, const float *others, size_t count) {
#define RG_TERM(k) (double)(values[k] - others[k]) * (double)(values[k] - others[k])
  RG_SUM(RG_TERM);
#undef RG_TERM
}

static void rotate_halves_row(
    float *restrict values, const float *restrict cosine, const float *restrict sine,
    size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = values[i], second = values[i + half];
    values[i] = first * cosine[i] - second * sine[i];
    values[i + half] = second * cosine[i] + first * sine[i];
  }
}

static void rotate_pairs_row(
    float *restrict values, const float *restrict cosine, const float *restrict sine,
    size_t half) {
  for (size_t i = 0; i < half; i++) {
    float first = values[2 * i], second = values[2 * i + 1];
    values[2 * i] = first * cosine[i] - second * sine[i];
    values[2 * i + 1] = second * cosine[i] + first * sine[i];
  }
}

static void adam_row(
    float *restrict values, float *restrict first, float *restrict second,
    const float *restrict gradient, const float *restrict rates, float first_scale,
    float second_scale, size_t count) {
  for (size_t i = 0; i < count; i++) {
    first[i] = 0.9f * first[i] + 0.1f * gradient[i];
    second[i] = 0.99f * second[i] + 0.01f * gradient[i] * gradient[i];
    float scaled = __builtin_elementwise_sqrt(second[i] * second_scale) + 1e-12f;
    values[i] -= rates[i] * first[i] * first_scale / scaled;
  }
}

typedef float float_lanes __attribute__((ext_vector_type(8)));
typedef int32_t int_lanes __attribute__((ext_vector_type(8)));

#define RG_HALVES(V, WIDTH)                                                               \
  (WIDTH == 4   ? __builtin_shufflevector(V, V, 4, 5, 6, 7, 0, 1, 2, 3)                   \
   : WIDTH == 2 ? __builtin_shufflevector(V, V, 2, 3, 0, 1, 6, 7, 4, 5)                   \
                : __builtin_shufflevector(V, V, 1, 0, 3, 2, 5, 4, 7, 6))

// The next one is the largest of those that are less than the last, or equal at a later place.
static size_t largest_places(const float *values, size_t count, int32_t *places, size_t most) {
  const float none = -__builtin_inff();
  float last = __builtin_inff();
  int32_t last_place = -1;
  for (size_t rank = 0; rank < most; rank++) {
    float_lanes best = (float_lanes){0} + none;
    int_lanes place = {0}, here = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size_t i = 0; i < count; i += 8, here += 8) {
      float_lanes value;
      __builtin_memcpy(&value, values + i, sizeof value);
      int_lanes later = (value < last) | ((value == last) & (here > last_place));
      int_lanes better = later & (value > best);
      best = better ? value : best;
      place = better ? here : place;
    }
    for (int width = 4; width > 0; width /= 2) {
      float_lanes other = RG_HALVES(best, width);
      int_lanes other_place = RG_HALVES(place, width);
      int_lanes better = (other > best) | ((other == best) & (other_place < place));
      best = better ? other : best;
      place = better ? other_place : place;
    }
    if (best[0] == none) return rank;
    last = best[0];
    places[rank] = last_place = place[0];
  }
  return most;
}

static void sum_row(
    const float *restrict values, const float *restrict others, float *restrict sums,
    size_t count) {
  for (size_t i = 0; i < count; i++) sums[i] = values[i] + others[i];
}

static void round_bfloats(const float *source, float *result, size_t count) {
  for (size_t i = 0; i < count; i++) {
    uint32_t bits = bits_from_float(source[i]);
    uint32_t near = bits + (0x7FFFu + (bits >> 16 & 1));
    // Rounding could make infinity, or zero, of a NaN.
    near = (bits & 0x7FFFFFFFu) > 0x7F800000u ? bits | 0x400000u : near;
    result[i] = float_from_bits(near & 0xFFFF0000u);
  }
}

static void soft_members(
    const float *restrict compared, float places, float width, float threshold,
    float *restrict members, size_t count) {
  float scale = 1.0f / width;
  for (int round = 0; round < 16; round++) {
    float lane[lanes] = {0}, slope_lane[lanes] = {0};
    for (size_t i = 0; i + lanes <= count; i += lanes) {
      for (int j = 0; j < lanes; j++) {
        float share = 1.0f / (1.0f + exp_value((threshold - compared[i + j]) * scale));
        members[i + j] = share;
        lane[j] += share;
        slope_lane[j] += share * (1.0f - share);
      }
    }
    float excess = lane_sum(lane) - places, slope = lane_sum(slope_lane);
    if (__builtin_fabsf(excess) <= 1e-5f) return;
    float step = excess / (slope > 1e-20f ? slope : 1e-20f);
    step = step < -2.0f ? -2.0f : step > 2.0f ? 2.0f : step;
    threshold += width * step;
  }
}

#define RG_ROW_KERNEL_SET                                                                        \
  { exp_row, silu_product, clamped_swiglu, softmax_row, rms_norm_row, add_scaled_row, max_row,   \
    sum_exp_row, sum_exp_difference_row, sum_squares_row, sum_squared_differences_row,           \
    rotate_halves_row, rotate_pairs_row, add_products_row, sigmoid_product, gelu_product,         \
    soft_cap_row, adam_row, largest_places, sum_row, soft_members,                          \
    round_bfloats }
