// SPDX-License-Identifier: Apache-2.0
//
// What a forward pass does to rows of float32 between its matrix products.
//
// Compiled once per instruction set like the decoders; no contraction to fused multiply-add, and
// sums run over sixteen lanes that are added in a fixed order: every path gives the same bits.
#ifndef ROWKERNELS_H
#define ROWKERNELS_H

#include "CKernels.h"

/// exp(x) for every value, within 2 ULP on [-87.3, 88]; 1.2e-38 below and 1.6e38 above; NaN stays.
void rg_exp(rg_path path, float *values, size_t count);

/// gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i].
void rg_silu_product(rg_path path, float *gate, const float *up, size_t count);

/// gate[i] = (u + 1) * g / (1 + exp(-alpha * g)), g = gate[i] up to limit, u = up[i] between -limit
/// and limit. NaN stays.
void rg_clamped_swiglu(
    rg_path path, float *gate, const float *up, float alpha, float limit, size_t count);

/// gate[i] = gelu(gate[i]) * up[i], gelu by its approximation with tanh.
void rg_gelu_product(rg_path path, float *gate, const float *up, size_t count);

/// values[i] = limit * tanh(values[i] / limit), limit above 0. NaN stays, and
/// infinity becomes it.
void rg_soft_cap(rg_path path, float *values, float limit, size_t count);

/// values[i] = exp(scale * values[i]) / (exp(sink) + sum of these), for whatever is largest of the
/// exponents. `scale` is not negative; a sink of -infinity is none.
void rg_softmax(rg_path path, float *values, float scale, float sink, size_t count);

/// result[i] = source[i] / sqrt(mean(source^2) + epsilon) * weight[i]; returns the sum of squares.
/// `result` may be `source`.
float rg_rms_norm(
    rg_path path, const float *source, const float *weight, float epsilon, float *result,
    size_t count);

/// target[i] += factor * source[i].
void rg_add_scaled(rg_path path, float *target, const float *source, float factor, size_t count);

/// target[i] += source[i] * factors[i].
void rg_add_products(
    rg_path path, float *target, const float *source, const float *factors, size_t count);

/// values[i] = values[i] / (1 + exp(-gate[i])); `gate` may be `values`.
void rg_sigmoid_product(rg_path path, float *values, const float *gate, size_t count);

/// The largest value; -infinity for none. NaN is passed over.
float rg_max(rg_path path, const float *values, size_t count);

/// Sum of exp(values[i] - shift).
double rg_sum_exp(rg_path path, const float *values, float shift, size_t count);

/// Sum of exp(values[i] - shift) * (values[i] - others[i]).
double rg_sum_exp_difference(
    rg_path path, const float *values, const float *others, float shift, size_t count);

/// Sum of squares, and of squares of differences.
double rg_sum_squares(rg_path path, const float *values, size_t count);
double rg_sum_squared_differences(
    rg_path path, const float *values, const float *others, size_t count);

/// Rotates pair i, (values[i], values[i + half]), by the angle of cosine[i] and sine[i].
void rg_rotate_halves(
    rg_path path, float *values, const float *cosine, const float *sine, size_t half);

/// Rotates pair i, (values[2i], values[2i + 1]).
void rg_rotate_pairs(
    rg_path path, float *values, const float *cosine, const float *sine, size_t half);

/// One step of Adam (beta1 0.9, beta2 0.99) against a gradient g:
///
///   first[i] = 0.9 first[i] + 0.1 g[i],   second[i] = 0.99 second[i] + 0.01 g[i]^2
///   values[i] -= rates[i] * first[i] * first_scale / (sqrt(second[i] * second_scale) + 1e-12)
void rg_adam(
    rg_path path, float *values, float *first, float *second, const float *gradient,
    const float *rates, float first_scale, float second_scale, size_t count);

/// Puts the places of the `most` largest values into `places`, the largest first and the lowest
/// place first where values are equal; returns how many there are: NaN and -infinity are none.
/// `count` is a multiple of 8.
size_t rg_largest_places(rg_path path, const float *values, size_t count, int32_t *places, size_t most);

/// sums[i] = values[i] + others[i].
void rg_sum(rg_path path, const float *values, const float *others, float *sums, size_t count);

/// members[i] = 1 / (1 + exp((t - compared[i]) / width)), with t such that they sum to `places`
/// within 1e-5: at most 16 rounds of Newton's method from `threshold`. `count` is a multiple of
/// 16; a value of -infinity is no member.
void rg_soft_members(
    rg_path path, const float *compared, float places, float width, float threshold,
    float *members, size_t count);

/// result[i] = source[i] rounded to bfloat16, to even where two are as near; NaN stays NaN.
/// `result` may be `source`.
void rg_round_bfloats(rg_path path, const float *source, float *result, size_t count);

#endif
