// SPDX-License-Identifier: Apache-2.0
//
// What the files of the tile kernels on x86-64 share. A tile is 16 rows of 64 bytes: of the left
// matrix 16 rows x 32 columns, of the right one 16 pairs of columns x 16 rows, pairs side by side,
// as TDPBF16PS and VDPBF16PS want them.
//
// Memory order, so that the inner loop reads forwards (K is columns / 32, D the depth of a block):
//   right    [block of D][pair of tiles][K step][part][2 tiles]
//   left     [pair of tiles][K step][part][2 tiles], one block of `left_rows` x D at a time
#ifndef CKERNELS_TILES_H
#define CKERNELS_TILES_H

#include "include/TileKernels.h"
#include "scalars.h"

#if defined(__x86_64__) && defined(__linux__)
#define RG_HAS_TILES 1

enum { step = 32, depth = rg_tile_columns, pair_rows = rg_tile_rows, left_rows = 256, tile_bytes = 1024 };

#define RG_BFLOATS "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"
#define RG_VECTORS __attribute__((target(RG_BFLOATS)))
#define RG_VECTORS_INLINE static inline __attribute__((always_inline)) RG_VECTORS

RG_INLINE size_t rounded(size_t count, size_t unit) { return (count + unit - 1) / unit; }
RG_INLINE size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/// Pairs of tiles of two matrices, one after the other for `steps` steps, each in some parts; parts
/// i and j are multiplied where i + j is below `limit`.
typedef struct {
  const char *left, *right;
  int left_parts, right_parts, limit;
  size_t steps;
} rg_tile_pairs;

/// result = the product, or that added to it, of `rows` x `columns`: at most 32 each.
typedef void (*rg_tile_square)(
    rg_tile_pairs pairs, float *result, size_t stride, size_t rows, size_t columns, int adding);

/// On AMX, between the two calls that make it ready and let it rest.
void rg_tile_unit_begin(void);
void rg_tile_unit_end(void);
void rg_tile_unit_square(
    rg_tile_pairs pairs, float *result, size_t stride, size_t rows, size_t columns, int adding);
/// Whether the CPU has AMX; asks the system for it.
int rg_tile_unit_request(void);

/// On AVX-512 BF16, of one part each.
void rg_tile_vectors_square(
    rg_tile_pairs pairs, float *result, size_t stride, size_t rows, size_t columns, int adding);

#endif
#endif
