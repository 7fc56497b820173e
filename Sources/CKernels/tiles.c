// SPDX-License-Identifier: Apache-2.0
//
// Products on AMX. A tile is 16 rows of 64 bytes: of the left matrix 16 rows x 32 columns, of the
// right one 16 pairs of columns x 16 rows, pairs side by side, as TDPBF16PS wants them.
//
// Memory order, so that the inner loop reads forwards (K is columns / 32, D the depth of a block):
//   right    [block of D][pair of tiles][K step][part][2 tiles]
//   left     [pair of tiles][K step][part][2 tiles], one block of `left_rows` x D at a time
// The inner loop keeps 2 x 2 tiles of sums.
#include "include/TileKernels.h"
#include "scalars.h"

#if defined(__x86_64__) && defined(__linux__)
#include "transpose.h"

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { step = 32, depth = rg_tile_columns, pair_rows = rg_tile_rows, left_rows = 256, tile_bytes = 1024 };

#define RG_TILES \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16")))
#define RG_TILES_INLINE static inline __attribute__((always_inline)) RG_TILES

RG_INLINE size_t rounded(size_t count, size_t unit) { return (count + unit - 1) / unit; }
RG_INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static int request_tiles(void) {
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return 0;
  int has_tiles = (edx >> 22 & 1) && (edx >> 24 & 1);
  if (!has_tiles || !__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !(eax >> 5 & 1)) return 0;
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512dq")) {
    return 0;
  }
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

int rg_tiles_available(void) {
  // 0 unknown, 1 no, 2 yes; two threads that ask at once get the same answer.
  static int known;
  int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (answer == 0) {
    answer = request_tiles() ? 2 : 1;
    __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
  }
  return answer == 2;
}

size_t rg_tiles_bytes(size_t rows, size_t columns, int parts) {
  return rounded(rows, pair_rows) * rounded(columns, step) * 2 * tile_bytes * (size_t)parts;
}

size_t rg_tiles_scratch_bytes(size_t columns, int parts) {
  return rg_tiles_bytes(left_rows, smaller(columns, depth), parts);
}

// MARK: Packing

RG_TILES_INLINE __m512 widened(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/// The next part of 32 values, which become what is left of them.
RG_TILES_INLINE __m512i next_part(__m512 *low, __m512 *high) {
  __m512i part = (__m512i)_mm512_cvtne2ps_pbh(*high, *low);
  *low = _mm512_sub_ps(*low, widened(_mm512_castsi512_si256(part)));
  *high = _mm512_sub_ps(*high, widened(_mm512_extracti64x4_epi64(part, 1)));
  return part;
}

RG_TILES_INLINE void load_step(const float *source, size_t count, __m512 *low, __m512 *high) {
  __mmask32 mask = count >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << count) - 1;
  *low = _mm512_maskz_loadu_ps((__mmask16)mask, source);
  *high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), source + 16);
}

/// One step of up to 16 rows of the right matrix, into tiles that are 2 * tile_bytes apart.
RG_TILES static void pack_rows(
    const float *source, size_t stride, size_t rows, size_t columns, int parts, char *target) {
  __m512i tiles[3][16];
  for (size_t row = 0; row < 16; row++) {
    __m512 low = _mm512_setzero_ps(), high = low;
    if (row < rows) load_step(source + row * stride, columns, &low, &high);
    for (int part = 0; part < parts; part++) tiles[part][row] = next_part(&low, &high);
  }
  for (int part = 0; part < parts; part++) {
    rg_transpose(tiles[part]);
    for (int row = 0; row < 16; row++) {
      _mm512_store_si512(target + part * 2 * tile_bytes + row * 64, tiles[part][row]);
    }
  }
}

/// The same from a matrix that is stored with rows and columns exchanged.
RG_TILES static void pack_columns(
    const float *source, size_t stride, size_t rows, size_t columns, int parts, char *target) {
  __mmask16 mask = rows >= 16 ? (__mmask16)~0u : (__mmask16)((1u << rows) - 1);
  // Columns 2j and 2j + 1 alternate in the tile, but come from two stored rows.
  static const uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  __m512i alternating = _mm512_loadu_si512(order);
  for (size_t pair = 0; pair < 16; pair++) {
    __m512 first = _mm512_setzero_ps(), second = first;
    if (2 * pair < columns) first = _mm512_maskz_loadu_ps(mask, source + 2 * pair * stride);
    if (2 * pair + 1 < columns) {
      second = _mm512_maskz_loadu_ps(mask, source + (2 * pair + 1) * stride);
    }
    for (int part = 0; part < parts; part++) {
      __m512i both = _mm512_permutexvar_epi16(alternating, next_part(&first, &second));
      _mm512_store_si512(target + part * 2 * tile_bytes + pair * 64, both);
    }
  }
}

RG_TILES void rg_tiles_pack(
    const float *source, size_t stride, int transposed, size_t rows, size_t columns, size_t first,
    size_t count, int parts, void *target) {
  size_t pairs = rounded(rows, pair_rows), step_bytes = 2 * tile_bytes * (size_t)parts;
  for (size_t k = 0; k < columns; k += depth) {
    size_t steps = rounded(smaller(depth, columns - k), step);
    char *block = (char *)target + pairs * (k / step) * step_bytes;
    for (size_t row = 0; row < rounded(count, pair_rows) * pair_rows; row += 16) {
      size_t left = row < count ? smaller(16, count - row) : 0;
      char *tile = block + (first + row) / pair_rows * steps * step_bytes +
                   (row % pair_rows) / 16 * tile_bytes;
      for (size_t s = 0; s < steps; s++, tile += step_bytes) {
        size_t column = k + s * step;
        if (transposed) {
          pack_columns(
              source + column * stride + row, stride, left, columns - column, parts, tile);
        } else {
          pack_rows(source + row * stride + column, stride, left, columns - column, parts, tile);
        }
      }
    }
  }
}

/// A block of the left matrix, in whose tiles rows stay rows.
RG_TILES static void pack_left(
    const float *source, size_t stride, size_t rows, size_t columns, int parts, char *target) {
  size_t steps = rounded(columns, step), step_bytes = 2 * tile_bytes * (size_t)parts;
  for (size_t row = 0; row < rounded(rows, pair_rows) * pair_rows; row++) {
    char *tile = target + row / pair_rows * steps * step_bytes + row % pair_rows * 64;
    for (size_t s = 0; s < steps; s++, tile += step_bytes) {
      __m512 low = _mm512_setzero_ps(), high = low;
      if (row < rows) {
        load_step(source + row * stride + s * step, columns - s * step, &low, &high);
      }
      for (int part = 0; part < parts; part++) {
        _mm512_store_si512(tile + part * 2 * tile_bytes, next_part(&low, &high));
      }
    }
  }
}

// MARK: Products

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} tile_configuration;

RG_TILES static void configure(void) {
  tile_configuration configuration = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    configuration.row_bytes[tile] = 64;
    configuration.rows[tile] = 16;
  }
  _tile_loadconfig(&configuration);
}

/// Adds `steps` steps to the sums in tiles 0 to 3, for parts whose numbers add up to less than
/// `limit`.
RG_TILES_INLINE void add_steps(
    const char *left, int left_parts, const char *right, int parts, size_t steps, int limit) {
  for (size_t s = 0; s < steps; s++) {
    for (int j = 0; j < parts; j++, right += 2 * tile_bytes) {
      _tile_loadd(6, right, 64);
      _tile_loadd(7, right + tile_bytes, 64);
      for (int i = 0; i < left_parts && i + j < limit; i++) {
        const char *tile = left + i * 2 * tile_bytes;
        _tile_loadd(4, tile, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, tile + tile_bytes, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    left += left_parts * 2 * tile_bytes;
  }
}

RG_TILES_INLINE void load_sums(const float *source, size_t stride) {
  _tile_loadd(0, source, stride * sizeof(float));
  _tile_loadd(1, source + 16, stride * sizeof(float));
  _tile_loadd(2, source + 16 * stride, stride * sizeof(float));
  _tile_loadd(3, source + 16 * stride + 16, stride * sizeof(float));
}

RG_TILES_INLINE void store_sums(float *target, size_t stride) {
  _tile_stored(0, target, stride * sizeof(float));
  _tile_stored(1, target + 16, stride * sizeof(float));
  _tile_stored(2, target + 16 * stride, stride * sizeof(float));
  _tile_stored(3, target + 16 * stride + 16, stride * sizeof(float));
}

/// Sums of `rows` x `columns`, at most a pair of tiles each way.
RG_TILES_INLINE void add_square(
    const char *left, int left_parts, const char *right, int parts, size_t steps, int limit,
    float *result, size_t stride, size_t rows, size_t columns, int adding) {
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
  add_steps(left, left_parts, right, parts, steps, limit);
  if (whole) {
    store_sums(result, stride);
    return;
  }
  store_sums(edge, pair_rows);
  for (size_t row = 0; row < rows; row++) {
    memcpy(result + row * stride, edge + row * pair_rows, columns * sizeof(float));
  }
}

RG_TILES void rg_tiles_multiply(
    const float *left, size_t left_stride, size_t count, int left_parts, rg_tile_matrix right,
    size_t first_row, size_t rows, size_t first_column, size_t columns, float *result,
    size_t result_stride, int adding, void *scratch) {
  size_t pairs = rounded(right.rows, pair_rows);
  size_t left_bytes = 2 * tile_bytes * (size_t)left_parts;
  size_t right_bytes = 2 * tile_bytes * (size_t)right.parts;
  int limit = left_parts > right.parts ? left_parts : right.parts;
  configure();
  for (size_t k = 0; k < columns; k += depth) {
    size_t width = smaller(depth, columns - k), steps = rounded(width, step);
    size_t stored_steps = rounded(smaller(depth, right.columns - first_column - k), step);
    const char *block = right.tiles;
    block += pairs * ((first_column + k) / step) * right_bytes;
    block += first_row / pair_rows * stored_steps * right_bytes;
    for (size_t top = 0; top < count; top += left_rows) {
      size_t height = smaller(left_rows, count - top);
      pack_left(left + top * left_stride + k, left_stride, height, width, left_parts, scratch);
      for (size_t column = 0; column < rows; column += pair_rows) {
        for (size_t row = 0; row < height; row += pair_rows) {
          add_square(
              (const char *)scratch + row / pair_rows * steps * left_bytes, left_parts,
              block + column / pair_rows * stored_steps * right_bytes, right.parts, steps, limit,
              result + (top + row) * result_stride + column, result_stride,
              smaller(pair_rows, height - row), smaller(pair_rows, rows - column),
              adding || k > 0);
        }
      }
    }
  }
  _tile_release();
}

#else

int rg_tiles_available(void) { return 0; }
size_t rg_tiles_bytes(size_t rows, size_t columns, int parts) {
  (void)rows, (void)columns, (void)parts;
  return 0;
}
size_t rg_tiles_scratch_bytes(size_t columns, int parts) {
  (void)columns, (void)parts;
  return 0;
}
void rg_tiles_pack(
    const float *source, size_t stride, int transposed, size_t rows, size_t columns, size_t first,
    size_t count, int parts, void *target) {
  (void)source, (void)stride, (void)transposed, (void)rows, (void)columns, (void)first;
  (void)count, (void)parts, (void)target;
}
void rg_tiles_multiply(
    const float *left, size_t left_stride, size_t count, int left_parts, rg_tile_matrix right,
    size_t first_row, size_t rows, size_t first_column, size_t columns, float *result,
    size_t result_stride, int adding, void *scratch) {
  (void)left, (void)left_stride, (void)count, (void)left_parts, (void)right, (void)first_row;
  (void)rows, (void)first_column, (void)columns, (void)result, (void)result_stride, (void)adding;
  (void)scratch;
}

#endif
