// SPDX-License-Identifier: Apache-2.0
//
// Products in 8-bit integers. VPDPBUSD multiplies four columns and adds the products to a 32-bit
// sum, so that four columns lie side by side. It wants one factor without sign: 128 is added to the
// left one, and 128 times the sum of the right one's block taken off again, where the sums begin.
//
//   right    [32 rows][block of 32 columns]: 32 scales, 32 beginnings, 8 columns of four x 32 rows
//   left     256 rows at a time: [row][block] of 32 bytes, after [row][block] scales
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
  four_bytes = 4 * panel_rows,
  head_bytes = 8 * panel_rows,
  block_bytes = head_bytes + block / 4 * four_bytes,
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
  return scale_bytes(rows, blocks) + rounded(rows * blocks * block, 64) * 64;
}

// MARK: Packing

/// Scales and rounds a block of `count` numbers; returns the scale.
RG_VNNI_INLINE float quantise(const float *source, size_t count, __m256i *result) {
  __mmask32 mask = count >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << count) - 1;
  __m512 low = _mm512_maskz_loadu_ps((__mmask16)mask, source);
  __m512 high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), source + 16);
  float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
  // A maximum overlooks NaN.
  if (_mm512_cmp_ps_mask(low, high, _CMP_UNORD_Q)) largest = __builtin_nanf("");
  if (largest < 1e-30f) largest = 0;
  float scale = largest * (1 / 127.0f);
  __m512 inverse = _mm512_set1_ps(scale == 0 ? 0 : 1 / scale);
  __m128i first = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(low, inverse)));
  __m128i second = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(high, inverse)));
  *result = _mm256_set_m128i(second, first);
  return scale;
}

/// -128 times the sum of 32 bytes.
RG_VNNI_INLINE int32_t beginning(__m256i values) {
  __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), values);
  __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
  half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return -128 * (_mm_cvtsi128_si32(half) + _mm_extract_epi32(half, 1));
}

/// Two blocks of 16 rows, of which `rows` exist, into their half of the columns of four; the second
/// only where there are more than 32 columns.
RG_VNNI static void pack_rows(
    const float *source, size_t stride, size_t rows, size_t columns, size_t half, char *target) {
  int blocks = columns > block ? 2 : 1;
  __m512i both[16];
  for (size_t row = 0; row < 16; row++) {
    __m256i values[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int b = 0; b < blocks; b++) {
      char *head = target + b * block_bytes + 4 * (16 * half + row);
      float scale = 0;
      if (row < rows) {
        scale = quantise(source + row * stride + b * block, columns - b * block, &values[b]);
      }
      int32_t begin = beginning(values[b]);
      memcpy(head, &scale, sizeof scale);
      memcpy(head + 4 * panel_rows, &begin, sizeof begin);
    }
    both[row] = _mm512_inserti64x4(_mm512_castsi256_si512(values[0]), values[1], 1);
  }
  rg_transpose(both);
  for (int b = 0; b < blocks; b++) {
    char *fours = target + b * block_bytes + head_bytes + 64 * half;
    for (int four = 0; four < 8; four++) {
      _mm512_store_si512(fours + four * four_bytes, both[8 * b + four]);
    }
  }
}

RG_VNNI void rg_integers_pack(
    const float *source, size_t stride, size_t columns, size_t first, size_t count, void *target) {
  size_t blocks = rounded(columns, block);
  for (size_t row = 0; row < rounded(count, panel_rows) * panel_rows; row += 16) {
    size_t left = row < count ? smaller(16, count - row) : 0;
    char *packed = (char *)target + (first + row) / panel_rows * blocks * block_bytes;
    for (size_t b = 0; b < blocks; b += 2) {
      pack_rows(
          source + row * stride + b * block, stride, left, columns - b * block,
          row % panel_rows / 16, packed + b * block_bytes);
    }
  }
}

RG_VNNI static void pack_left(
    const float *source, size_t stride, size_t rows, size_t columns, float *scales,
    uint8_t *target) {
  for (size_t row = 0; row < rows; row++) {
    for (size_t column = 0; column < columns; column += block, target += block) {
      __m256i values;
      *scales++ = quantise(source + row * stride + column, columns - column, &values);
      _mm256_store_si256((__m256i *)target, _mm256_xor_si256(values, _mm256_set1_epi8(-128)));
    }
  }
}

// MARK: Products

/// Some rows of the left matrix, and the rows of the right one that lie together.
typedef struct {
  const uint8_t *left;
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
    const char *fours = from.right + head_bytes;
    const uint8_t *left = from.left + b * block;
    __m512i begin = _mm512_load_si512(from.right + 4 * panel_rows);
    __m512i other = _mm512_load_si512(from.right + 4 * panel_rows + 64);
    __m512i part[tile_rows][2];
    for (int i = 0; i < rows; i++) {
      part[i][0] = begin;
      part[i][1] = other;
    }
#pragma clang loop unroll_count(1)
    for (size_t f = 0; f < block / 4; f++) {
      __m512i first = _mm512_load_si512(fours + f * four_bytes);
      __m512i second = _mm512_load_si512(fours + f * four_bytes + 64);
      for (int i = 0; i < rows; i++) {
        int four;
        memcpy(&four, left + (size_t)i * left_stride + 4 * f, sizeof four);
        __m512i all = _mm512_set1_epi32(four);
        part[i][0] = _mm512_dpbusd_epi32(part[i][0], all, first);
        part[i][1] = _mm512_dpbusd_epi32(part[i][1], all, second);
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
  uint8_t *values = (uint8_t *)((char *)scratch + scale_bytes(smaller(count, left_rows), blocks));
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
