// SPDX-License-Identifier: Apache-2.0
//
// Chooses row kernels by the path that the caller asks for.
#include "row_paths.h"

static const rg_row_kernel_set *kernels(rg_path path) {
#if defined(__x86_64__)
  if (path == rg_path_avx2) return &rg_avx2_row_kernels;
#endif
  (void)path;
  return &rg_baseline_row_kernels;
}

void rg_exp(rg_path path, float *values, size_t count) { kernels(path)->exp(values, count); }

void rg_silu_product(rg_path path, float *gate, const float *up, size_t count) {
  kernels(path)->silu_product(gate, up, count);
}

void rg_clamped_swiglu(
    rg_path path, float *gate, const float *up, float alpha, float limit, size_t count) {
  kernels(path)->clamped_swiglu(gate, up, alpha, limit, count);
}

void rg_softmax(rg_path path, float *values, float scale, float sink, size_t count) {
  kernels(path)->softmax(values, scale, sink, count);
}

float rg_rms_norm(
    rg_path path, const float *source, const float *weight, float epsilon, float *result,
    size_t count) {
  return kernels(path)->rms_norm(source, weight, epsilon, result, count);
}

void rg_add_scaled(rg_path path, float *target, const float *source, float factor, size_t count) {
  kernels(path)->add_scaled(target, source, factor, count);
}

void rg_add_products(
    rg_path path, float *target, const float *source, const float *factors, size_t count) {
  kernels(path)->add_products(target, source, factors, count);
}

void rg_sigmoid_product(rg_path path, float *values, const float *gate, size_t count) {
  kernels(path)->sigmoid_product(values, gate, count);
}

void rg_gelu_product(rg_path path, float *gate, const float *up, size_t count) {
  kernels(path)->gelu_product(gate, up, count);
}

void rg_soft_cap(rg_path path, float *values, float limit, size_t count) {
  kernels(path)->soft_cap(values, limit, count);
}

float rg_max(rg_path path, const float *values, size_t count) {
  return kernels(path)->max(values, count);
}

double rg_sum_exp(rg_path path, const float *values, float shift, size_t count) {
  return kernels(path)->sum_exp(values, shift, count);
}

double rg_sum_exp_difference(
    rg_path path, const float *values, const float *others, float shift, size_t count) {
  return kernels(path)->sum_exp_difference(values, others, shift, count);
}

double rg_sum_squares(rg_path path, const float *values, size_t count) {
  return kernels(path)->sum_squares(values, count);
}

double rg_sum_squared_differences(
    rg_path path, const float *values, const float *others, size_t count) {
  return kernels(path)->sum_squared_differences(values, others, count);
}

void rg_rotate_halves(
    rg_path path, float *values, const float *cosine, const float *sine, size_t half) {
  kernels(path)->rotate_halves(values, cosine, sine, half);
}

void rg_rotate_pairs(
    rg_path path, float *values, const float *cosine, const float *sine, size_t half) {
  kernels(path)->rotate_pairs(values, cosine, sine, half);
}

void rg_adam(
    rg_path path, float *values, float *first, float *second, const float *gradient,
    const float *rates, float first_scale, float second_scale, size_t count) {
  kernels(path)->adam(
      values, first, second, gradient, rates, first_scale, second_scale, count);
}

size_t rg_largest_places(
    rg_path path, const float *values, size_t count, int32_t *places, size_t most) {
  return kernels(path)->largest_places(values, count, places, most);
}

void rg_sum(rg_path path, const float *values, const float *others, float *sums, size_t count) {
  kernels(path)->sum(values, others, sums, count);
}

void rg_soft_members(
    rg_path path, const float *compared, float places, float width, float threshold,
    float *members, size_t count) {
  kernels(path)->soft_members(compared, places, width, threshold, members, count);
}

void rg_round_bfloats(rg_path path, const float *source, float *result, size_t count) {
  kernels(path)->round_bfloats(source, result, count);
}
