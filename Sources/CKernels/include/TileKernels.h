// SPDX-License-Identifier: Apache-2.0
//
// Matrix products in bfloat16 that are added up in float32: on the tile unit of x86-64 CPUs (AMX),
// sixteen times as fast as AVX-512 multiplies float32, or in vectors (AVX-512 BF16, twice as fast;
// BFMMLA on arm64).
//
// A product of bfloat16 with bfloat16 takes one part of each factor. Float32 takes several, on the
// tile unit alone, where that still pays: a float32 is the sum of three bfloat16 numbers,
// x = x0 + x1 + x2, exactly, each the rest of those before it, rounded: |x1| <= 2^-8 |x|,
// |x2| <= 2^-16 |x|. A product of matrices is then a sum of products of parts, of which those
// beyond float32's precision are left out:
//
//   parts of the right matrix                      products a_i b_j with i + j below
//   1   bfloat16 and 8-bit floats, exact           3
//   2   float16, exact                             3
//   3   any float32; error about 2^-24 |a||b|      3
//   2, 2 of the left: error about 2^-17 |a||b|     2
//   1, 1 of the left: both rounded to bfloat16     1
//
// Numbers below 2^-126 count as zero.
#ifndef TILEKERNELS_H
#define TILEKERNELS_H

#include <stddef.h>

/// What multiplies.
typedef enum {
  /// The tile unit: any number of parts.
  rg_tile_path_unit,
  /// Vectors: one part of either factor.
  rg_tile_path_vectors,
  rg_tile_path_count
} rg_tile_path;

/// Whether this build, CPU and system have it; asks the system for the tile unit the first time.
int rg_tiles_available(rg_tile_path path);

/// Bytes of a right matrix of `rows` rows in `parts` parts; a multiple of 64.
size_t rg_tiles_bytes(size_t rows, size_t columns, int parts);

/// Rows of a right matrix that lie together: packing must begin at a multiple of it.
enum { rg_tile_rows = 32 };

/// A matrix to be packed: [rows, columns], or [columns, rows] stored with the two exchanged;
/// `stride` numbers lie between the beginnings of two stored rows.
typedef enum { rg_tile_rows_f32, rg_tile_columns_f32, rg_tile_rows_bf16 } rg_tile_form;
typedef struct {
  const void *numbers;
  size_t stride;
  rg_tile_form form;
} rg_tile_source;

/// Packs rows `first` to `first + count` of a right matrix [rows, columns] into `target`; `source`
/// begins at row `first`. `count` is a multiple of `rg_tile_rows`, or ends at `rows`. Bfloat16
/// numbers, at whatever address, are packed in one part.
void rg_tiles_pack(
    rg_tile_source source, size_t rows, size_t columns, size_t first, size_t count, int parts,
    void *target);

/// Bytes of working memory for a product of `count` rows on the left; a multiple of 64.
size_t rg_tiles_scratch_bytes(size_t count, size_t columns, int parts);

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
    rg_tile_path path, const float *left, size_t left_stride, size_t count, int left_parts,
    rg_tile_matrix right, size_t first_row, size_t rows, size_t first_column, size_t columns,
    float *result, size_t result_stride, int adding, void *scratch);

#endif
