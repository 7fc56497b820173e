// SPDX-License-Identifier: Apache-2.0
//
// Float32 matrix products on the tile unit of x86-64 CPUs (AMX), which multiplies bfloat16 and adds
// up in float32, sixteen times as fast as AVX-512 multiplies float32.
//
// A float32 is the sum of three bfloat16 numbers, x = x0 + x1 + x2, exactly, each the rest of those
// before it, rounded: |x1| <= 2^-8 |x|, |x2| <= 2^-16 |x|. A product of matrices is then a sum of
// products of parts, of which those beyond float32's precision are left out:
//
//   parts of the right matrix                      products a_i b_j with i + j below
//   1   bfloat16 and 8-bit floats, exact           3
//   2   float16, exact                             3
//   3   any float32; error about 2^-24 |a||b|      3
//   2, 2 of the left: error about 2^-17 |a||b|     2
//
// Numbers below 2^-126 count as zero.
#ifndef TILEKERNELS_H
#define TILEKERNELS_H

#include <stddef.h>

/// Whether this build, CPU and system have the tile unit; asks the system for it the first time.
int rg_tiles_available(void);

/// Bytes of a right matrix of `rows` rows in `parts` parts; a multiple of 64.
size_t rg_tiles_bytes(size_t rows, size_t columns, int parts);

/// Rows of a right matrix that lie together: packing must begin at a multiple of it.
enum { rg_tile_rows = 32 };

/// Packs rows `first` to `first + count` of a right matrix [rows, columns] into `target`; `source`
/// points at row `first`. The matrix is stored [rows, columns] or, `transposed`, [columns, rows],
/// with `stride` floats from one stored row to the next. `count` is a multiple of `rg_tile_rows`,
/// or ends at `rows`.
void rg_tiles_pack(
    const float *source, size_t stride, int transposed, size_t rows, size_t columns, size_t first,
    size_t count, int parts, void *target);

/// Bytes of working memory for a product; a multiple of 64.
size_t rg_tiles_scratch_bytes(size_t columns, int parts);

/// A packed right matrix.
typedef struct {
  const void *tiles;
  size_t rows, columns;
  int parts;
} rg_tile_matrix;

/// Columns that lie together: a window must begin at a multiple of it.
enum { rg_tile_columns = 512 };

/// result = left · windowᵀ, or that added to it: left [count, columns] in `left_parts` parts, the
/// window on `right` [rows, columns] from `first_row`, a multiple of `rg_tile_rows`, and
/// `first_column`, a multiple of `rg_tile_columns`; result [count, rows]. Working memory must be
/// 64-byte aligned.
void rg_tiles_multiply(
    const float *left, size_t left_stride, size_t count, int left_parts, rg_tile_matrix right,
    size_t first_row, size_t rows, size_t first_column, size_t columns, float *result,
    size_t result_stride, int adding, void *scratch);

#endif
