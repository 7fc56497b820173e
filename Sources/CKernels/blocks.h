// SPDX-License-Identifier: Apache-2.0
//
// Block layouts of ggml 0.25, fields in file order. All fields are bytes: blocks have no alignment.
// `d`, `m` and `dmin` are binary16 unless a comment says otherwise.
#ifndef CKERNELS_BLOCKS_H
#define CKERNELS_BLOCKS_H

#include <stdint.h>

typedef struct { uint8_t d[2], qs[16]; } block_q4_0;
typedef struct { uint8_t d[2], m[2], qs[16]; } block_q4_1;
typedef struct { uint8_t d[2], qh[4], qs[16]; } block_q5_0;
typedef struct { uint8_t d[2], m[2], qh[4], qs[16]; } block_q5_1;
typedef struct { uint8_t d[2], qs[32]; } block_q8_0;
// `s` is d times the sum of qs, for dot products.
typedef struct { uint8_t d[2], s[2], qs[32]; } block_q8_1;
typedef struct { uint8_t d[2], qs[16]; } block_iq4_nl;
// `e` is E8M0.
typedef struct { uint8_t e, qs[16]; } block_mxfp4;
// `d` are four unsigned E4M3 scales of 16 elements each.
typedef struct { uint8_t d[4], qs[32]; } block_nvfp4;
typedef struct { uint8_t d[2], qs[16]; } block_q2_0;
typedef struct { uint8_t d[2], qs[16]; } block_q1_0;

typedef struct { uint8_t scales[16], qs[64], d[2], dmin[2]; } block_q2_k;
typedef struct { uint8_t hmask[32], qs[64], scales[12], d[2]; } block_q3_k;
typedef struct { uint8_t d[2], dmin[2], scales[12], qs[128]; } block_q4_k;
typedef struct { uint8_t d[2], dmin[2], scales[12], qh[32], qs[128]; } block_q5_k;
typedef struct { uint8_t ql[128], qh[64], scales[16], d[2]; } block_q6_k;
// `d` is binary32.
typedef struct { uint8_t d[4], qs[256], bsums[32]; } block_q8_k;
typedef struct { uint8_t d[2], scales_h[2], scales_l[4], qs[128]; } block_iq4_xs;
typedef struct { uint8_t qs[48], qh[4], d[2]; } block_tq1_0;
typedef struct { uint8_t qs[64], d[2]; } block_tq2_0;

typedef struct { uint8_t d[2]; struct { uint8_t index[4], signs[4]; } groups[8]; } block_iq2_xxs;
typedef struct { uint8_t d[2], qs[64], scales[8]; } block_iq2_xs;
typedef struct { uint8_t d[2], qs[32], signs[32], qh[8], scales[8]; } block_iq2_s;
typedef struct { uint8_t d[2], qs[64], signs[32]; } block_iq3_xxs;
typedef struct { uint8_t d[2], qs[64], qh[8], signs[32], scales[4]; } block_iq3_s;
typedef struct { uint8_t d[2], qs[32], qh[16]; } block_iq1_s;
typedef struct { uint8_t qs[32], qh[16], scales[8]; } block_iq1_m;

_Static_assert(sizeof(block_q4_0) == 18 && sizeof(block_q4_1) == 20, "Q4");
_Static_assert(sizeof(block_q5_0) == 22 && sizeof(block_q5_1) == 24, "Q5");
_Static_assert(sizeof(block_q8_0) == 34 && sizeof(block_q8_1) == 36, "Q8");
_Static_assert(sizeof(block_iq4_nl) == 18 && sizeof(block_iq4_xs) == 136, "IQ4");
_Static_assert(sizeof(block_mxfp4) == 17 && sizeof(block_nvfp4) == 36, "FP4");
_Static_assert(sizeof(block_q1_0) == 18 && sizeof(block_q2_0) == 18, "Q1, Q2");
_Static_assert(sizeof(block_q2_k) == 84 && sizeof(block_q3_k) == 110, "Q2_K, Q3_K");
_Static_assert(sizeof(block_q4_k) == 144 && sizeof(block_q5_k) == 176, "Q4_K, Q5_K");
_Static_assert(sizeof(block_q6_k) == 210 && sizeof(block_q8_k) == 292, "Q6_K, Q8_K");
_Static_assert(sizeof(block_tq1_0) == 54 && sizeof(block_tq2_0) == 66, "TQ");
_Static_assert(sizeof(block_iq2_xxs) == 66 && sizeof(block_iq2_xs) == 74, "IQ2_XXS, IQ2_XS");
_Static_assert(sizeof(block_iq2_s) == 82, "IQ2_S");
_Static_assert(sizeof(block_iq3_xxs) == 98 && sizeof(block_iq3_s) == 110, "IQ3");
_Static_assert(sizeof(block_iq1_s) == 50 && sizeof(block_iq1_m) == 56, "IQ1");

#endif
