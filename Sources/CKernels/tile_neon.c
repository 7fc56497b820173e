// SPDX-License-Identifier: Apache-2.0
//
// Products of bfloat16 on arm64 CPUs with BFMMLA, which multiplies 2 rows x 4 columns by 2 rows x 4
// columns: two rows' quads of columns, side by side, are a vector.
//
//   right    [8 rows][quad of columns][4 pairs of rows]
//   left     [8 rows][quad of columns][4 pairs of rows], 64 rows at a time
//
// The inner loop keeps the sums of 8 x 8 results.
#include "include/TileKernels.h"
#include "scalars.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

enum { quad = 4, panel_rows = 8, left_rows = 64, quad_bytes = 2 * panel_rows * quad };

#define RG_NEON __attribute__((target("bf16")))
#define RG_NEON_INLINE static inline __attribute__((always_inline)) RG_NEON

RG_INLINE size_t rounded(size_t count, size_t unit) { return (count + unit - 1) / unit; }
RG_INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static int have_bfloats(void) {
#if defined(__linux__)
  enum { BF16 = 1 << 14 };
  return (getauxval(AT_HWCAP2) & BF16) != 0;
#elif defined(__APPLE__)
  int answer = 0;
  size_t size = sizeof answer;
  return sysctlbyname("hw.optional.arm.FEAT_BF16", &answer, &size, 0, 0) == 0 && answer != 0;
#else
  return 0;
#endif
}

int rg_tiles_available(rg_tile_path path) {
  return path == rg_tile_path_vectors && have_bfloats();
}

size_t rg_tiles_bytes(size_t rows, size_t columns, int parts) {
  // Whole panels, and no fewer than windows begin at.
  size_t panels = rounded(rows, rg_tile_rows) * (rg_tile_rows / panel_rows);
  return panels * rounded(columns, quad) * quad_bytes * (size_t)parts;
}

size_t rg_tiles_scratch_bytes(size_t count, size_t columns, int parts) {
  return rounded(smaller(count, left_rows), panel_rows) * rounded(columns, quad) * quad_bytes *
         (size_t)parts;
}

// MARK: Packing

/// Up to four columns of a row, and zeros; `source` is nil for a row that does not exist.
RG_NEON_INLINE bfloat16x4_t load_quad(
    const void *source, size_t columns, size_t step, rg_tile_form form) {
  if (source == 0) return vreinterpret_bf16_u16(vdup_n_u16(0));
  if (form == rg_tile_rows_bf16) {
    uint16_t values[quad] = {0};
    memcpy(values, source, 2 * columns);
    return vreinterpret_bf16_u16(vld1_u16(values));
  }
  float values[quad] = {0};
  for (size_t c = 0; c < columns; c++) values[c] = ((const float *)source)[c * step];
  return vcvt_bf16_f32(vld1q_f32(values));
}

/// The number at `row` and `column`.
RG_INLINE const void *place(rg_tile_source source, size_t row, size_t column) {
  switch (source.form) {
  case rg_tile_rows_bf16:
    return (const uint16_t *)source.numbers + row * source.stride + column;
  case rg_tile_columns_f32: return (const float *)source.numbers + column * source.stride + row;
  default: return (const float *)source.numbers + row * source.stride + column;
  }
}

/// `count` rows and zeros up to whole panels.
RG_NEON static void pack(rg_tile_source source, size_t columns, size_t count, char *target) {
  size_t quads = rounded(columns, quad);
  size_t step = source.form == rg_tile_columns_f32 ? source.stride : 1;
  for (size_t row = 0; row < rounded(count, panel_rows) * panel_rows; row++) {
    char *to = target + row / panel_rows * quads * quad_bytes + row % panel_rows * 2 * quad;
    for (size_t q = 0; q < quads; q++, to += quad_bytes) {
      const void *from = row < count ? place(source, row, q * quad) : 0;
      size_t width = smaller(quad, columns - q * quad);
      bfloat16x4_t values;
      if (from != 0 && width == quad && source.form == rg_tile_rows_f32) {
        values = vcvt_bf16_f32(vld1q_f32(from));
      } else {
        values = load_quad(from, width, step, source.form);
      }
      vst1_u16((uint16_t *)to, vreinterpret_u16_bf16(values));
    }
  }
}

void rg_tiles_pack(
    rg_tile_source source, size_t rows, size_t columns, size_t first, size_t count, int parts,
    void *target) {
  (void)rows, (void)parts;
  pack(
      source, columns, count,
      (char *)target + first / panel_rows * rounded(columns, quad) * quad_bytes);
}

// MARK: Products

/// result = the product, or that added to it, of two panels of `quads` quads, of which `rows` x
/// `columns` exist.
RG_NEON static void add_square(
    const char *left, const char *right, size_t quads, float *result, size_t stride, size_t rows,
    size_t columns, int adding) {
  float32x4_t sums[4][4];
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 4; j++) sums[i][j] = vdupq_n_f32(0);
  }
  for (size_t q = 0; q < quads; q++, left += quad_bytes, right += quad_bytes) {
    bfloat16x8_t a[4], b[4];
    for (int i = 0; i < 4; i++) {
      a[i] = vreinterpretq_bf16_u16(vld1q_u16((const uint16_t *)left + 8 * i));
      b[i] = vreinterpretq_bf16_u16(vld1q_u16((const uint16_t *)right + 8 * i));
    }
    for (int i = 0; i < 4; i++) {
      for (int j = 0; j < 4; j++) sums[i][j] = vbfmmlaq_f32(sums[i][j], a[i], b[j]);
    }
  }
  // Each vector holds two columns of two rows.
  float square[panel_rows][panel_rows];
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 4; j++) {
      vst1_f32(square[2 * i] + 2 * j, vget_low_f32(sums[i][j]));
      vst1_f32(square[2 * i + 1] + 2 * j, vget_high_f32(sums[i][j]));
    }
  }
  for (size_t i = 0; i < rows; i++) {
    float *row = result + i * stride;
    for (size_t j = 0; j < columns; j++) row[j] = adding ? row[j] + square[i][j] : square[i][j];
  }
}

void rg_tiles_multiply(
    rg_tile_path path, const float *left, size_t left_stride, size_t count, int left_parts,
    rg_tile_matrix right, size_t first_row, size_t rows, size_t first_column, size_t columns,
    float *result, size_t result_stride, int adding, void *scratch) {
  (void)path, (void)left_parts;
  size_t quads = rounded(columns, quad), panel_bytes = rounded(right.columns, quad) * quad_bytes;
  const char *window = (const char *)right.tiles + first_row / panel_rows * panel_bytes +
                       first_column / quad * quad_bytes;
  for (size_t top = 0; top < count; top += left_rows) {
    size_t height = smaller(left_rows, count - top);
    rg_tile_source block = {left + top * left_stride, left_stride, rg_tile_rows_f32};
    pack(block, columns, height, scratch);
    for (size_t column = 0; column < rows; column += panel_rows) {
      for (size_t row = 0; row < height; row += panel_rows) {
        add_square(
            (const char *)scratch + row / panel_rows * quads * quad_bytes,
            window + column / panel_rows * panel_bytes, quads,
            result + (top + row) * result_stride + column, result_stride,
            smaller(panel_rows, height - row), smaller(panel_rows, rows - column), adding);
      }
    }
  }
}

#endif
