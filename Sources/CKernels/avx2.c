// SPDX-License-Identifier: Apache-2.0
//
// The kernels for x86-64 CPUs with AVX2. FMA stays off: see baseline.c.
#include "blocks.h"
#include "grids.h"
#include "paths.h"
#include "scalars.h"

#if defined(__x86_64__)
#pragma STDC FP_CONTRACT OFF
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#include "kernels.h"
#pragma clang attribute pop

const rg_kernel_set rg_avx2_kernels = RG_KERNEL_SET;
#endif
