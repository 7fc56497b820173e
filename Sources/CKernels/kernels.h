// SPDX-License-Identifier: Apache-2.0
//
// All kernels, to be included once by each instruction set's file after it has said what to compile
// for.
#include "plain_kernels.h"
#include "legacy_kernels.h"
#include "k_kernels.h"
#include "small_kernels.h"
#include "fp4_kernels.h"
#include "grid_kernels.h"

#define RG_ENTRY(name, elements, bytes) [rg_type_##name] = decode_##name,
#define RG_KERNEL_SET { {RG_TYPES(RG_ENTRY)}, scale_values }
