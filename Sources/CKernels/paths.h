// SPDX-License-Identifier: Apache-2.0
//
// One set of kernels per instruction set.
#ifndef CKERNELS_PATHS_H
#define CKERNELS_PATHS_H

#include "include/CKernels.h"

typedef struct {
  void (*decode[rg_type_count])(const uint8_t *source, float *restrict result, size_t blocks);
  void (*scale)(float *values, float factor, size_t count);
} rg_kernel_set;

extern const rg_kernel_set rg_baseline_kernels;
#if defined(__x86_64__)
extern const rg_kernel_set rg_avx2_kernels;
#endif

#endif
