// SPDX-License-Identifier: Apache-2.0
//
// Decoding of stored tensor elements to float, with one kernel per element type.
//
// Every kernel exists once as plain C (*_kernels.h) and is compiled once per instruction set
// (baseline.c, avx2.c); dispatch.c chooses at run time. The arithmetic is float32, one rounding per
// operation, never contracted to fused multiply-add, in the order of gguf-py's `dequantize`: every
// path gives the same bits (the payload and sign of a NaN result excepted, which IEEE 754 leaves
// open).
#ifndef CKERNELS_H
#define CKERNELS_H

#include <stddef.h>
#include <stdint.h>

/// Every element type that has a kernel: X(name, elements per block, bytes per block).
#define RG_TYPES(X) \
  X(f64, 1, 8) X(f32, 1, 4) X(f16, 1, 2) X(bf16, 1, 2) \
  X(i8, 1, 1) X(u8, 1, 1) X(i16, 1, 2) X(u16, 1, 2) \
  X(f8e4m3, 1, 1) X(f8e5m2, 1, 1) X(f8e8m0, 1, 1) X(f8e4m3fnuz, 1, 1) X(f8e5m2fnuz, 1, 1) \
  X(f4, 2, 1) X(i4, 2, 1) \
  X(q4_0, 32, 18) X(q4_1, 32, 20) X(q5_0, 32, 22) X(q5_1, 32, 24) \
  X(q8_0, 32, 34) X(q8_1, 32, 36) X(iq4_nl, 32, 18) X(mxfp4, 32, 17) \
  X(nvfp4, 64, 36) X(q2_0, 64, 18) X(q1_0, 128, 18) \
  X(q2_k, 256, 84) X(q3_k, 256, 110) X(q4_k, 256, 144) X(q5_k, 256, 176) X(q6_k, 256, 210) \
  X(q8_k, 256, 292) X(iq4_xs, 256, 136) X(tq1_0, 256, 54) X(tq2_0, 256, 66) \
  X(iq2_xxs, 256, 66) X(iq2_xs, 256, 74) X(iq2_s, 256, 82) \
  X(iq3_xxs, 256, 98) X(iq3_s, 256, 110) X(iq1_s, 256, 50) X(iq1_m, 256, 56)

#define RG_ENUMERATOR(name, elements, bytes) rg_type_##name,
typedef enum rg_type { RG_TYPES(RG_ENUMERATOR) rg_type_count } rg_type;
#undef RG_ENUMERATOR

/// The instruction sets that kernels are compiled for.
typedef enum rg_path { rg_path_baseline, rg_path_avx2, rg_path_count } rg_path;

/// Whether this machine and this build have `path`.
int rg_path_available(rg_path path);

/// The fastest available path.
rg_path rg_best_path(void);

/// Reads exactly `blocks` blocks of `type` from `source` (any alignment) and writes all of their
/// elements to `result`.
void rg_decode(rg_type type, rg_path path, const void *source, float *result, size_t blocks);

/// Elements and bytes per block.
size_t rg_block_elements(rg_type type);
size_t rg_block_bytes(rg_type type);

/// Multiplies `count` values by `factor`.
void rg_scale(rg_path path, float *values, float factor, size_t count);

#include "RowKernels.h"
#include "BLASKernels.h"
#include "IntegerKernels.h"
#include "TileKernels.h"

#endif
