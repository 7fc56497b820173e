// SPDX-License-Identifier: Apache-2.0
//
// Products in 16-bit integers. VPDPWSSD multiplies pairs of columns and adds both products to a
// 32-bit sum, so that pairs lie side by side:
//
//   right    [32 rows][block of 64 columns]: 32 scales, then 32 pairs of columns x 32 rows
//   left     256 rows at a time: [row][block] of 64 integers, after [row][block] scales
//
// The inner loop keeps the sums of 6 x 32 results, in integers and, block after block, in float32.
#include "include/IntegerKernels.h"
#include "scalars.h"

#if defined(__x86_64__) && defined(__linux__)
#include "transpose.h"

#include <immintrin.h>

enum {
  block = rg_integer_columns,
  panel_rows = rg_integer_rows,
  pair_bytes = 4 * panel_rows,
  block_bytes = 4 * panel_rows + block / 2 * pair_bytes,
  left_rows = 256,
  tile_rows = 6
};

#define RG_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define RG_VNNI_INLINE static inline __attribute__((always_inline)) RG_VNNI

RG_INLINE size_t rounded(size_t count, size_t unit) { return (count + unit - 1) / unit; }
RG_INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

int rg_integers_available(void) {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}

size_t rg_integers_bytes(size_t rows, size_t columns) {
  return rounded(rows, panel_rows) * rounded(columns, block) * block_bytes;
}

/// Bytes of the scales in working memory.
RG_INLINE size_t scale_bytes(size_t rows, size_t blocks) {
  return rounded(rows * blocks * sizeof(float), 64) * 64;
}

size_t rg_integers_scratch_bytes(size_t count, size_t columns) {
  size_t rows = smaller(count, left_rows), blocks = rounded(columns, block);
  return scale_bytes(rows, blocks) + rows * blocks * block * sizeof(int16_t);
}

// MARK: Packing

/// Scales and rounds a block of `count` numbers; returns the scale.
RG_VNNI_INLINE float quantise(const float *source, size_t count, __m512i *low, __m512i *high) {
  __mmask64 mask = count >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << count) - 1;
  __m512 value[4], squares = _mm512_setzero_ps(), largest = _mm512_setzero_ps();
  for (int i = 0; i < 4; i++) {
    value[i] = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16 * i), source + 16 * i);
    squares = _mm512_fmadd_ps(value[i], value[i], squares);
    largest = _mm512_max_ps(largest, _mm512_abs_ps(value[i]));
  }
  float norm = __builtin_sqrtf(_mm512_reduce_add_ps(squares));
  float maximum = _mm512_reduce_max_ps(largest);
  // Squares of very small numbers vanish: eight times the largest bounds their norm.
  if (maximum < 1e-15f) norm = 8 * maximum;
  if (norm < 1e-30f) norm = maximum = 0;
  float scale = norm * (1 / 46000.0f);
  // Not the other way round: NaN must stay.
  if (maximum * (1 / 32767.0f) > scale) scale = maximum * (1 / 32767.0f);
  __m512 inverse = _mm512_set1_ps(scale == 0 ? 0 : 1 / scale);
  __m256i part[4];
  for (int i = 0; i < 4; i++) {
    part[i] = _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(_mm512_mul_ps(value[i], inverse)));
  }
  *low = _mm512_inserti64x4(_mm512_castsi256_si512(part[0]), part[1], 1);
  *high = _mm512_inserti64x4(_mm512_castsi256_si512(part[2]), part[3], 1);
  return scale;
}

/// A block of 16 rows, of which `rows` exist, into its half of the pairs.
RG_VNNI static void pack_rows(
    const float *source, size_t stride, size_t rows, size_t columns, float *scales, char *pairs) {
  __m512i low[16], high[16];
  for (size_t row = 0; row < 16; row++) {
    if (row < rows) {
      scales[row] = quantise(source + row * stride, columns, &low[row], &high[row]);
    } else {
      scales[row] = 0;
      low[row] = high[row] = _mm512_setzero_si512();
    }
  }
  rg_transpose(low);
  rg_transpose(high);
  for (int pair = 0; pair < 16; pair++) {
    _mm512_store_si512(pairs + pair * pair_bytes, low[pair]);
    _mm512_store_si512(pairs + (16 + pair) * pair_bytes, high[pair]);
  }
}

RG_VNNI void rg_integers_pack(
    const float *source, size_t stride, size_t columns, size_t first, size_t count, void *target) {
  size_t blocks = rounded(columns, block);
  for (size_t row = 0; row < rounded(count, panel_rows) * panel_rows; row += 16) {
    size_t left = row < count ? smaller(16, count - row) : 0, half = row % panel_rows / 16;
    char *packed = (char *)target + (first + row) / panel_rows * blocks * block_bytes;
    for (size_t b = 0; b < blocks; b++, packed += block_bytes) {
      pack_rows(
          source + row * stride + b * block, stride, left, columns - b * block,
          (float *)packed + 16 * half, packed + 4 * panel_rows + 64 * half);
    }
  }
}

RG_VNNI static void pack_left(
    const float *source, size_t stride, size_t rows, size_t columns, float *scales,
    int16_t *target) {
  for (size_t row = 0; row < rows; row++) {
    for (size_t column = 0; column < columns; column += block, target += block) {
      __m512i low, high;
      *scales++ = quantise(source + row * stride + column, columns - column, &low, &high);
      _mm512_store_si512(target, low);
      _mm512_store_si512(target + 32, high);
    }
  }
}

// MARK: Products

/// Some rows of the left matrix, and the rows of the right one that lie together.
typedef struct {
  const int16_t *left;
  const float *left_scales;
  const char *right;
  size_t columns;
} operands;

/// The sums of `rows` x 32 results.
RG_VNNI_INLINE void multiply_tile(
    operands from, int rows, float *result, size_t stride, size_t columns, int adding) {
  size_t blocks = rounded(from.columns, block), left_stride = blocks * block;
  __m512 sum[tile_rows][2];
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
  for (size_t b = 0; b < blocks; b++) {
    const char *pairs = from.right + 4 * panel_rows;
    const int16_t *left = from.left + b * block;
    size_t count = rounded(smaller(block, from.columns - b * block), 2);
    __m512i part[tile_rows][2];
    for (int i = 0; i < rows; i++) part[i][0] = part[i][1] = _mm512_setzero_si512();
#pragma clang loop unroll_count(1)
    for (size_t p = 0; p < count; p++) {
      __m512i first = _mm512_load_si512(pairs + p * pair_bytes);
      __m512i second = _mm512_load_si512(pairs + p * pair_bytes + 64);
      for (int i = 0; i < rows; i++) {
        int pair;
        memcpy(&pair, left + (size_t)i * left_stride + 2 * p, sizeof pair);
        __m512i both = _mm512_set1_epi32(pair);
        part[i][0] = _mm512_dpwssd_epi32(part[i][0], both, first);
        part[i][1] = _mm512_dpwssd_epi32(part[i][1], both, second);
      }
    }
    __m512 first = _mm512_load_ps(from.right), second = _mm512_load_ps(from.right + 64);
    for (int i = 0; i < rows; i++) {
      __m512 scale = _mm512_set1_ps(from.left_scales[(size_t)i * blocks + b]);
      sum[i][0] = _mm512_fmadd_ps(
          _mm512_cvtepi32_ps(part[i][0]), _mm512_mul_ps(scale, first), sum[i][0]);
      sum[i][1] = _mm512_fmadd_ps(
          _mm512_cvtepi32_ps(part[i][1]), _mm512_mul_ps(scale, second), sum[i][1]);
    }
    from.right += block_bytes;
  }
  __mmask32 mask = columns >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << columns) - 1;
  for (int i = 0; i < rows; i++, result += stride) {
    for (int half = 0; half < 2; half++) {
      __mmask16 part = (__mmask16)(mask >> 16 * half);
      __m512 value = sum[i][half];
      if (adding) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(part, result + 16 * half));
      _mm512_mask_storeu_ps(result + 16 * half, part, value);
    }
  }
}

/// The same for `rows` up to `tile_rows`, each in its own registers.
RG_VNNI static void multiply_rows(
    operands from, size_t rows, float *result, size_t stride, size_t columns, int adding) {
  switch (rows) {
  case 1: multiply_tile(from, 1, result, stride, columns, adding); break;
  case 2: multiply_tile(from, 2, result, stride, columns, adding); break;
  case 3: multiply_tile(from, 3, result, stride, columns, adding); break;
  case 4: multiply_tile(from, 4, result, stride, columns, adding); break;
  case 5: multiply_tile(from, 5, result, stride, columns, adding); break;
  default: multiply_tile(from, tile_rows, result, stride, columns, adding);
  }
}

RG_VNNI void rg_integers_multiply(
    const float *left, size_t left_stride, size_t count, const void *right, size_t right_columns,
    size_t first_row, size_t rows, size_t first_column, size_t columns, float *result,
    size_t result_stride, int adding, void *scratch) {
  size_t blocks = rounded(columns, block);
  size_t panel_bytes = rounded(right_columns, block) * block_bytes;
  const char *window = (const char *)right + first_row / panel_rows * panel_bytes +
                       first_column / block * block_bytes;
  float *scales = scratch;
  int16_t *values = (int16_t *)((char *)scratch + scale_bytes(smaller(count, left_rows), blocks));
  for (size_t top = 0; top < count; top += left_rows) {
    size_t height = smaller(left_rows, count - top);
    pack_left(left + top * left_stride, left_stride, height, columns, scales, values);
    for (size_t column = 0; column < rows; column += panel_rows) {
      for (size_t row = 0; row < height; row += tile_rows) {
        operands from = {
            values + row * blocks * block, scales + row * blocks,
            window + column / panel_rows * panel_bytes, columns};
        multiply_rows(
            from, smaller(tile_rows, height - row),
            result + (top + row) * result_stride + column, result_stride,
            smaller(panel_rows, rows - column), adding);
      }
    }
  }
}

#else

int rg_integers_available(void) { return 0; }
size_t rg_integers_bytes(size_t rows, size_t columns) {
  (void)rows, (void)columns;
  return 0;
}
size_t rg_integers_scratch_bytes(size_t count, size_t columns) {
  (void)count, (void)columns;
  return 0;
}
void rg_integers_pack(
    const float *source, size_t stride, size_t columns, size_t first, size_t count, void *target) {
  (void)source, (void)stride, (void)columns, (void)first, (void)count, (void)target;
}
void rg_integers_multiply(
    const float *left, size_t left_stride, size_t count, const void *right, size_t right_columns,
    size_t first_row, size_t rows, size_t first_column, size_t columns, float *result,
    size_t result_stride, int adding, void *scratch) {
  (void)left, (void)left_stride, (void)count, (void)right, (void)right_columns, (void)first_row;
  (void)rows, (void)first_column, (void)columns, (void)result, (void)result_stride, (void)adding;
  (void)scratch;
}

#endif
