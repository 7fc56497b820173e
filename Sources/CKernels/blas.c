// SPDX-License-Identifier: Apache-2.0
#include "include/BLASKernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

// What OpenBLAS runs when it is loaded; absent from builds for one CPU.
#define RG_WEAK __attribute__((weak))
extern RG_WEAK char *openblas_get_corename(void);
extern RG_WEAK void openblas_read_env(void);
extern RG_WEAK void gotoblas_dynamic_quit(void);
extern RG_WEAK void gotoblas_dynamic_init(void);

static const char *better_kernels(void) {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return "SkylakeX";
  }
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "Haswell" : NULL;
}

void rg_blas_choose_kernels(void) {
  static const char variable[] = "OPENBLAS_CORETYPE";
  static const char *const fallbacks[] = {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem"};
  if (!openblas_get_corename || !openblas_read_env || !gotoblas_dynamic_quit ||
      !gotoblas_dynamic_init || getenv(variable)) {
    return;
  }
  const char *chosen = openblas_get_corename(), *better = better_kernels();
  int is_fallback = 0;
  for (size_t i = 0; i < sizeof fallbacks / sizeof *fallbacks; i++) {
    is_fallback |= chosen != NULL && strcmp(chosen, fallbacks[i]) == 0;
  }
  if (!is_fallback || better == NULL) return;
  setenv(variable, better, 0);
  gotoblas_dynamic_quit();
  openblas_read_env();
  gotoblas_dynamic_init();
  unsetenv(variable);
}

#else

void rg_blas_choose_kernels(void) {}

#endif
