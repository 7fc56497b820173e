// SPDX-License-Identifier: Apache-2.0
//
// Chooses kernels by what the CPU has.
#include "paths.h"

int rg_path_available(rg_path path) {
  switch (path) {
  case rg_path_baseline: return 1;
#if defined(__x86_64__)
  case rg_path_avx2: return __builtin_cpu_supports("avx2") != 0;
#endif
  default: return 0;
  }
}

rg_path rg_best_path(void) {
  return rg_path_available(rg_path_avx2) ? rg_path_avx2 : rg_path_baseline;
}

static const rg_kernel_set *kernels(rg_path path) {
#if defined(__x86_64__)
  if (path == rg_path_avx2) return &rg_avx2_kernels;
#endif
  (void)path;
  return &rg_baseline_kernels;
}

void rg_decode(rg_type type, rg_path path, const void *source, float *result, size_t blocks) {
  kernels(path)->decode[type](source, result, blocks);
}

void rg_scale(rg_path path, float *values, float factor, size_t count) {
  kernels(path)->scale(values, factor, count);
}

size_t rg_block_elements(rg_type type) {
#define RG_ELEMENTS(name, elements, bytes) [rg_type_##name] = elements,
  static const size_t table[rg_type_count] = {RG_TYPES(RG_ELEMENTS)};
  return table[type];
}

size_t rg_block_bytes(rg_type type) {
#define RG_BYTES(name, elements, bytes) [rg_type_##name] = bytes,
  static const size_t table[rg_type_count] = {RG_TYPES(RG_BYTES)};
  return table[type];
}
