// SPDX-License-Identifier: Apache-2.0
//
// Packs matrices into tiles and multiplies square after square of them, by the kernels of
// tile_unit.c or tile_vectors.c.
#include "tiles.h"

#ifdef RG_HAS_TILES
#include "transpose.h"

#include <immintrin.h>

static int have_vectors(void) {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16");
}

static int have_unit(void) {
  // 0 unknown, 1 no, 2 yes; two threads that ask at once get the same answer.
  static int known;
  int answer = __atomic_load_n(&known, __ATOMIC_RELAXED);
  if (answer == 0) {
    // Packing is done in vectors.
    answer = have_vectors() && rg_tile_unit_request() ? 2 : 1;
    __atomic_store_n(&known, answer, __ATOMIC_RELAXED);
  }
  return answer == 2;
}

int rg_tiles_available(rg_tile_path path) {
  return path == rg_tile_path_unit ? have_unit() : path == rg_tile_path_vectors && have_vectors();
}

size_t rg_tiles_bytes(size_t rows, size_t columns, int parts) {
  return rounded(rows, pair_rows) * rounded(columns, step) * 2 * tile_bytes * (size_t)parts;
}

size_t rg_tiles_scratch_bytes(size_t count, size_t columns, int parts) {
  return rg_tiles_bytes(smaller(count, left_rows), smaller(columns, depth), parts);
}

// MARK: Packing

RG_VECTORS_INLINE __m512 widened(__m256i halves) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/// The next part of 32 values, which become what is left of them, unless it is the last.
RG_VECTORS_INLINE __m512i next_part(__m512 *low, __m512 *high, int is_last) {
  __m512i part = (__m512i)_mm512_cvtne2ps_pbh(*high, *low);
  if (is_last) return part;
  *low = _mm512_sub_ps(*low, widened(_mm512_castsi512_si256(part)));
  *high = _mm512_sub_ps(*high, widened(_mm512_extracti64x4_epi64(part, 1)));
  return part;
}

RG_VECTORS_INLINE __mmask32 first_of(size_t count) {
  return count >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << count) - 1;
}

RG_VECTORS_INLINE void load_step(const float *source, size_t count, __m512 *low, __m512 *high) {
  __mmask32 mask = first_of(count);
  *low = _mm512_maskz_loadu_ps((__mmask16)mask, source);
  *high = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), source + 16);
}

/// What is packed: `rows` x `columns` or more numbers, `stride` of them from one stored row to the
/// next.
typedef struct {
  const void *numbers;
  size_t stride, rows, columns;
} stored;

RG_VECTORS_INLINE void store_turned(__m512i tile[16], char *target) {
  rg_transpose(tile);
  for (int row = 0; row < 16; row++) _mm512_store_si512(target + row * 64, tile[row]);
}

/// One step of up to 16 rows of the right matrix, into tiles that are 2 * tile_bytes apart.
RG_VECTORS static void pack_rows(stored from, int parts, char *target) {
  __m512i tiles[3][16];
  for (size_t row = 0; row < 16; row++) {
    __m512 low = _mm512_setzero_ps(), high = low;
    const float *source = (const float *)from.numbers + row * from.stride;
    if (row < from.rows) load_step(source, from.columns, &low, &high);
    for (int part = 0; part < parts; part++) {
      tiles[part][row] = next_part(&low, &high, part + 1 == parts);
    }
  }
  for (int part = 0; part < parts; part++) {
    store_turned(tiles[part], target + part * 2 * tile_bytes);
  }
}

/// The same of bfloat16, as they are.
RG_VECTORS static void pack_bfloats(stored from, char *target) {
  __mmask32 mask = first_of(from.columns);
  __m512i tile[16];
  for (size_t row = 0; row < 16; row++) {
    const uint16_t *source = (const uint16_t *)from.numbers + row * from.stride;
    tile[row] = row < from.rows ? _mm512_maskz_loadu_epi16(mask, source) : _mm512_setzero_si512();
  }
  store_turned(tile, target);
}

/// The same from a matrix that is stored with rows and columns exchanged.
RG_VECTORS static void pack_columns(stored from, int parts, char *target) {
  __mmask16 mask = (__mmask16)first_of(from.rows);
  // Columns 2j and 2j + 1 alternate in the tile, but come from two stored rows.
  static const uint16_t order[32] = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23,
                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  __m512i alternating = _mm512_loadu_si512(order);
  for (size_t pair = 0; pair < 16; pair++) {
    __m512 first = _mm512_setzero_ps(), second = first;
    const float *source = (const float *)from.numbers + 2 * pair * from.stride;
    if (2 * pair < from.columns) first = _mm512_maskz_loadu_ps(mask, source);
    if (2 * pair + 1 < from.columns) second = _mm512_maskz_loadu_ps(mask, source + from.stride);
    for (int part = 0; part < parts; part++) {
      __m512i both = _mm512_permutexvar_epi16(
          alternating, next_part(&first, &second, part + 1 == parts));
      _mm512_store_si512(target + part * 2 * tile_bytes + pair * 64, both);
    }
  }
}

RG_VECTORS void rg_tiles_pack(
    rg_tile_source source, size_t rows, size_t columns, size_t first, size_t count, int parts,
    void *target) {
  size_t pairs = rounded(rows, pair_rows), step_bytes = 2 * tile_bytes * (size_t)parts;
  for (size_t k = 0; k < columns; k += depth) {
    size_t steps = rounded(smaller(depth, columns - k), step);
    char *block = (char *)target + pairs * (k / step) * step_bytes;
    for (size_t row = 0; row < rounded(count, pair_rows) * pair_rows; row += 16) {
      char *tile = block + (first + row) / pair_rows * steps * step_bytes +
                   (row % pair_rows) / 16 * tile_bytes;
      for (size_t s = 0; s < steps; s++, tile += step_bytes) {
        size_t column = k + s * step;
        stored from = {
            source.numbers, source.stride, row < count ? smaller(16, count - row) : 0,
            columns - column};
        switch (source.form) {
        case rg_tile_rows_f32:
          from.numbers = (const float *)source.numbers + row * source.stride + column;
          pack_rows(from, parts, tile);
          break;
        case rg_tile_rows_bf16:
          from.numbers = (const uint16_t *)source.numbers + row * source.stride + column;
          pack_bfloats(from, tile);
          break;
        case rg_tile_columns_f32:
          from.numbers = (const float *)source.numbers + column * source.stride + row;
          pack_columns(from, parts, tile);
          break;
        }
      }
    }
  }
}

/// A block of the left matrix, in whose tiles rows stay rows.
RG_VECTORS static void pack_left(
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
        _mm512_store_si512(
            tile + part * 2 * tile_bytes, next_part(&low, &high, part + 1 == parts));
      }
    }
  }
}

// MARK: Products

RG_VECTORS void rg_tiles_multiply(
    rg_tile_path path, const float *left, size_t left_stride, size_t count, int left_parts,
    rg_tile_matrix right, size_t first_row, size_t rows, size_t first_column, size_t columns,
    float *result, size_t result_stride, int adding, void *scratch) {
  size_t row_pairs = rounded(right.rows, pair_rows);
  size_t left_bytes = 2 * tile_bytes * (size_t)left_parts;
  size_t right_bytes = 2 * tile_bytes * (size_t)right.parts;
  rg_tile_pairs pairs = {
      .left_parts = left_parts, .right_parts = right.parts,
      .limit = left_parts > right.parts ? left_parts : right.parts};
  rg_tile_square add = path == rg_tile_path_unit ? rg_tile_unit_square : rg_tile_vectors_square;
  if (path == rg_tile_path_unit) rg_tile_unit_begin();
  for (size_t k = 0; k < columns; k += depth) {
    size_t width = smaller(depth, columns - k);
    size_t stored_steps = rounded(smaller(depth, right.columns - first_column - k), step);
    const char *block = right.tiles;
    block += row_pairs * ((first_column + k) / step) * right_bytes;
    block += first_row / pair_rows * stored_steps * right_bytes;
    pairs.steps = rounded(width, step);
    for (size_t top = 0; top < count; top += left_rows) {
      size_t height = smaller(left_rows, count - top);
      pack_left(left + top * left_stride + k, left_stride, height, width, left_parts, scratch);
      for (size_t column = 0; column < rows; column += pair_rows) {
        pairs.right = block + column / pair_rows * stored_steps * right_bytes;
        for (size_t row = 0; row < height; row += pair_rows) {
          pairs.left = (const char *)scratch + row / pair_rows * pairs.steps * left_bytes;
          add(pairs, result + (top + row) * result_stride + column, result_stride,
              smaller(pair_rows, height - row), smaller(pair_rows, rows - column),
              adding || k > 0);
        }
      }
    }
  }
  if (path == rg_tile_path_unit) rg_tile_unit_end();
}

#elif !defined(__aarch64__)

int rg_tiles_available(rg_tile_path path) {
  (void)path;
  return 0;
}
size_t rg_tiles_bytes(size_t rows, size_t columns, int parts) {
  (void)rows, (void)columns, (void)parts;
  return 0;
}
size_t rg_tiles_scratch_bytes(size_t count, size_t columns, int parts) {
  (void)count, (void)columns, (void)parts;
  return 0;
}
void rg_tiles_pack(
    rg_tile_source source, size_t rows, size_t columns, size_t first, size_t count, int parts,
    void *target) {
  (void)source, (void)rows, (void)columns, (void)first, (void)count, (void)parts, (void)target;
}
void rg_tiles_multiply(
    rg_tile_path path, const float *left, size_t left_stride, size_t count, int left_parts,
    rg_tile_matrix right, size_t first_row, size_t rows, size_t first_column, size_t columns,
    float *result, size_t result_stride, int adding, void *scratch) {
  (void)path, (void)left, (void)left_stride, (void)count, (void)left_parts, (void)right;
  (void)first_row, (void)rows, (void)first_column, (void)columns, (void)result;
  (void)result_stride, (void)adding, (void)scratch;
}

#endif
