// SPDX-License-Identifier: Apache-2.0
//
// The row kernels for any CPU: SSE2 on x86-64, NEON on aarch64.
#include "row_paths.h"
#include "scalars.h"

#pragma STDC FP_CONTRACT OFF
#include "row_kernels.h"

const rg_row_kernel_set rg_baseline_row_kernels = RG_ROW_KERNEL_SET;
