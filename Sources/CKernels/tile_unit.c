// SPDX-License-Identifier: Apache-2.0
//
// Squares of 2 x 2 tiles on AMX.
#include "tiles.h"

#ifdef RG_HAS_TILES
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RG_UNIT __attribute__((target(RG_BFLOATS ",amx-tile,amx-bf16")))
#define RG_UNIT_INLINE static inline __attribute__((always_inline)) RG_UNIT

int rg_tile_unit_request(void) {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  int has_tiles = (edx >> 22 & 1) && (edx >> 24 & 1);
  if (!has_tiles) return 0;
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_configuration;

RG_UNIT void rg_tile_unit_begin(void) {
  tile_configuration configuration = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    configuration.row_bytes[tile] = 64;
    configuration.rows[tile] = 16;
  }
  _tile_loadconfig(&configuration);
}

RG_UNIT void rg_tile_unit_end(void) { _tile_release(); }

/// Adds all steps to the sums in tiles 0 to 3.
RG_UNIT_INLINE void add_steps(rg_tile_pairs pairs) {
  const char *left = pairs.left, *right = pairs.right;
  for (size_t s = 0; s < pairs.steps; s++) {
    for (int j = 0; j < pairs.right_parts; j++, right += 2 * tile_bytes) {
      _tile_loadd(6, right, 64);
      _tile_loadd(7, right + tile_bytes, 64);
      for (int i = 0; i < pairs.left_parts && i + j < pairs.limit; i++) {
        const char *tile = left + i * 2 * tile_bytes;
        _tile_loadd(4, tile, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, tile + tile_bytes, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    left += pairs.left_parts * 2 * tile_bytes;
  }
}

RG_UNIT_INLINE void load_sums(const float *source, size_t stride) {
  _tile_loadd(0, source, stride * sizeof(float));
  _tile_loadd(1, source + 16, stride * sizeof(float));
  _tile_loadd(2, source + 16 * stride, stride * sizeof(float));
  _tile_loadd(3, source + 16 * stride + 16, stride * sizeof(float));
}

RG_UNIT_INLINE void store_sums(float *target, size_t stride) {
  _tile_stored(0, target, stride * sizeof(float));
  _tile_stored(1, target + 16, stride * sizeof(float));
  _tile_stored(2, target + 16 * stride, stride * sizeof(float));
  _tile_stored(3, target + 16 * stride + 16, stride * sizeof(float));
}

RG_UNIT void rg_tile_unit_square(
    rg_tile_pairs pairs, float *result, size_t stride, size_t rows, size_t columns, int adding) {
  float edge[pair_rows * pair_rows] __attribute__((aligned(64)));
  int whole = rows == pair_rows && columns == pair_rows;
  if (!adding) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else if (whole) {
    load_sums(result, stride);
  } else {
    memset(edge, 0, sizeof edge);
    for (size_t row = 0; row < rows; row++) {
      memcpy(edge + row * pair_rows, result + row * stride, columns * sizeof(float));
    }
    load_sums(edge, pair_rows);
  }
  add_steps(pairs);
  if (whole) {
    store_sums(result, stride);
    return;
  }
  store_sums(edge, pair_rows);
  for (size_t row = 0; row < rows; row++) {
    memcpy(result + row * stride, edge + row * pair_rows, columns * sizeof(float));
  }
}

#endif
