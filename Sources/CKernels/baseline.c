// SPDX-License-Identifier: Apache-2.0
//
// The kernels for any CPU: SSE2 on x86-64, NEON on aarch64.
#include "blocks.h"
#include "grids.h"
#include "paths.h"
#include "scalars.h"

// A fused multiply-add would round once where gguf-py rounds twice.
#pragma STDC FP_CONTRACT OFF

#include "kernels.h"

const rg_kernel_set rg_baseline_kernels = RG_KERNEL_SET;
