// SPDX-License-Identifier: Apache-2.0
//
// One set of row kernels per instruction set.
#ifndef CKERNELS_ROW_PATHS_H
#define CKERNELS_ROW_PATHS_H

#include "include/RowKernels.h"

typedef struct {
  void (*exp)(float *values, size_t count);
  void (*silu_product)(float *restrict gate, const float *restrict up, size_t count);
  void (*clamped_swiglu)(
      float *restrict gate, const float *restrict up, float alpha, float limit, size_t count);
  void (*softmax)(float *values, float scale, float sink, size_t count);
  float (*rms_norm)(
      const float *source, const float *weight, float epsilon, float *result, size_t count);
  void (*add_scaled)(
      float *restrict target, const float *restrict source, float factor, size_t count);
  float (*max)(const float *values, size_t count);
  double (*sum_exp)(const float *values, float shift, size_t count);
  double (*sum_exp_difference)(
      const float *values, const float *others, float shift, size_t count);
  double (*sum_squares)(const float *values, size_t count);
  double (*sum_squared_differences)(const float *values, const float *others, size_t count);
  void (*rotate_halves)(
      float *restrict values, const float *restrict cosine, const float *restrict sine,
      size_t half);
  void (*rotate_pairs)(
      float *restrict values, const float *restrict cosine, const float *restrict sine,
      size_t half);
  void (*add_products)(
      float *restrict target, const float *restrict source, const float *restrict factors,
      size_t count);
  void (*sigmoid_product)(float *values, const float *gate, size_t count);
  void (*gelu_product)(float *restrict gate, const float *restrict up, size_t count);
  void (*soft_cap)(float *values, float limit, size_t count);
  void (*adam)(
      float *restrict values, float *restrict first, float *restrict second,
      const float *restrict gradient, const float *restrict rates, float first_scale,
      float second_scale, size_t count);
  size_t (*largest_places)(const float *values, size_t count, int32_t *places, size_t most);
  void (*sum)(
      const float *restrict values, const float *restrict others, float *restrict sums,
      size_t count);
  void (*soft_members)(
      const float *restrict compared, float places, float width, float threshold,
      float *restrict members, size_t count);
  void (*round_bfloats)(const float *source, float *result, size_t count);
} rg_row_kernel_set;

extern const rg_row_kernel_set rg_baseline_row_kernels;
#if defined(__x86_64__)
extern const rg_row_kernel_set rg_avx2_row_kernels;
#endif

#endif
