// SPDX-License-Identifier: Apache-2.0
//
// Matrix products in 8-bit integers on x86-64 CPUs with AVX-512 VNNI, which multiply them four
// times as fast as float32. For quantised weights: llama.cpp too rounds what these are multiplied
// with to 8 bits, in blocks of 32 (Q8_0) or 256 (Q8_K).
//
// Both factors are cut into blocks of 32 columns, and each row's block is scaled and rounded:
//
//   x[c] = s q[c],   s = |x|_max / 127
//   result[i, j] = sum over blocks of s_i s_j (q_i . q_j)
//
// Weights of Q8_0 stay what they are, whose blocks are these. For others, of up to six bits,
// rounding at 2^-8 of a block's largest number is finer than what they were rounded at before.
// Rounding errors are about 2^-7 of a product's size. Numbers below 1e-30 count as zero. A row's
// results depend on no other row.
#ifndef INTEGERKERNELS_H
#define INTEGERKERNELS_H

#include <stddef.h>

/// Whether this build and CPU have these kernels.
int rg_integers_available(void);

/// Rows of a right matrix that lie together: packing and windows must begin at a multiple of it.
enum { rg_integer_rows = 32 };
/// Columns that are scaled together: a window must begin at a multiple of it.
enum { rg_integer_columns = 32 };

/// Bytes of a right matrix; a multiple of 64.
size_t rg_integers_bytes(size_t rows, size_t columns);

/// Packs rows `first` to `first + count` of a right matrix [rows, columns] into `target`, which is
/// 64-byte aligned; `source` points at row `first` and has `stride` floats from row to row. `count`
/// is a multiple of `rg_integer_rows`, or ends at `rows`.
void rg_integers_pack(
    const float *source, size_t stride, size_t columns, size_t first, size_t count, void *target);

/// Bytes of working memory for a product with `count` rows on the left; a multiple of 64.
size_t rg_integers_scratch_bytes(size_t count, size_t columns);

/// result = left · windowᵀ, or that added to it: left [count, columns], the window on the packed
/// matrix `right` of `right_columns` columns from `first_row` and `first_column`; result
/// [count, rows]. Working memory must be 64-byte aligned.
void rg_integers_multiply(
    const float *left, size_t left_stride, size_t count, const void *right, size_t right_columns,
    size_t first_row, size_t rows, size_t first_column, size_t columns, float *result,
    size_t result_stride, int adding, void *scratch);

#endif
