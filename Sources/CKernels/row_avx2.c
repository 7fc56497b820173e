// SPDX-License-Identifier: Apache-2.0
//
// The row kernels for x86-64 CPUs with AVX2.
#include "row_paths.h"
#include "scalars.h"

#if defined(__x86_64__)
#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#include "row_kernels.h"
#pragma clang attribute pop

const rg_row_kernel_set rg_avx2_row_kernels = RG_ROW_KERNEL_SET;
#endif
