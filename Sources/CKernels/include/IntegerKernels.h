// SPDX-License-Identifier: Apache-2.0
//
// Matrix products in 16-bit integers on x86-64 CPUs with AVX-512 VNNI, which multiply them twice as
// fast as float32. For quantised weights, which are some percent off what they stand for.
//
// Both factors are cut into blocks of 64 columns, and each row's block is scaled and rounded:
//
//   x[c] = s q[c],   s = max(|x|_2 / 46000, |x|_max / 32767)
//   result[i, j] = sum over blocks of s_i s_j (q_i . q_j)
//
// The integers of a block have a norm of at most 46000 + 4 (4: what rounding adds), so that no sum
// of products can leave 32 bits: |q_i . q_j| <= |q_i|_2 |q_j|_2 < 2^31 (Cauchy, Schwarz). A block of
// even size is rounded at 2^-13.5 of its root mean square, which gives rounding errors of about 2^-14
// of a product's size. Blocks with numbers above 1e18 count as infinite, those below 1e-30 as zero.
// A row's results depend on no other row.
#ifndef INTEGERKERNELS_H
#define INTEGERKERNELS_H

#include <stddef.h>

/// Whether this build and CPU have these kernels.
int rg_integers_available(void);

/// Rows of a right matrix that lie together: packing and windows must begin at a multiple of it.
enum { rg_integer_rows = 32 };
/// Columns that are scaled together: a window must begin at a multiple of it.
enum { rg_integer_columns = 64 };

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
