// SPDX-License-Identifier: Apache-2.0
//
// Squares of 2 x 2 tiles on AVX-512 BF16: a row of a right tile is one vector, and a pair of
// columns of a left one is what VDPBF16PS takes for all its lanes.
#include "tiles.h"

#ifdef RG_HAS_TILES
#include <immintrin.h>

/// Rows whose sums are kept at once, in two vectors each.
enum { group_rows = 8 };

/// Adds up the products of eight rows of the left tiles, the first at `left`.
RG_VECTORS_INLINE void add_group(
    const char *left, const char *right, size_t steps, __m512 sums[group_rows][2]) {
  for (size_t s = 0; s < steps; s++) {
#pragma clang loop unroll_count(2)
    for (size_t pair = 0; pair < 16; pair++) {
      __m512bh first = (__m512bh)_mm512_load_si512(right + pair * 64);
      __m512bh second = (__m512bh)_mm512_load_si512(right + tile_bytes + pair * 64);
      for (int i = 0; i < group_rows; i++) {
        int both;
        memcpy(&both, left + i * 64 + 4 * pair, sizeof both);
        __m512bh all = (__m512bh)_mm512_set1_epi32(both);
        sums[i][0] = _mm512_dpbf16_ps(sums[i][0], all, first);
        sums[i][1] = _mm512_dpbf16_ps(sums[i][1], all, second);
      }
    }
    left += 2 * tile_bytes;
    right += 2 * tile_bytes;
  }
}

RG_VECTORS void rg_tile_vectors_square(
    rg_tile_pairs pairs, float *result, size_t stride, size_t rows, size_t columns, int adding) {
  uint32_t bits = columns >= 32 ? ~(uint32_t)0 : ((uint32_t)1 << columns) - 1;
  __mmask16 low = (__mmask16)bits, high = (__mmask16)(bits >> 16);
  for (size_t row = 0; row < rows; row += group_rows) {
    size_t count = smaller(group_rows, rows - row);
    __m512 sums[group_rows][2];
    for (size_t i = 0; i < group_rows; i++) {
      sums[i][0] = sums[i][1] = _mm512_setzero_ps();
      if (!adding || i >= count) continue;
      sums[i][0] = _mm512_maskz_loadu_ps(low, result + (row + i) * stride);
      sums[i][1] = _mm512_maskz_loadu_ps(high, result + (row + i) * stride + 16);
    }
    add_group(
        pairs.left + row / 16 * tile_bytes + row % 16 * 64, pairs.right, pairs.steps, sums);
    for (size_t i = 0; i < count; i++) {
      _mm512_mask_storeu_ps(result + (row + i) * stride, low, sums[i][0]);
      _mm512_mask_storeu_ps(result + (row + i) * stride + 16, high, sums[i][1]);
    }
  }
}

#endif
