// SPDX-License-Identifier: Apache-2.0
//
// Types of one to two bits without grids: binary Q1_0, Q2_0, and the ternary TQ1_0, TQ2_0.

static void decode_q1_0(const uint8_t *source, float *restrict result, size_t count) {
  const block_q1_0 *block = (const block_q1_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 128) {
    float d = load_f16(block->d);
    for (int i = 0; i < 128; i++) result[i] = block->qs[i / 8] >> (i % 8) & 1 ? d : -d;
  }
}

static void decode_q2_0(const uint8_t *source, float *restrict result, size_t count) {
  const block_q2_0 *block = (const block_q2_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 64) {
    float d = load_f16(block->d);
    for (int i = 0; i < 64; i++) {
      result[i] = (float)((block->qs[i / 4] >> 2 * (i % 4) & 3) - 1) * d;
    }
  }
}

/// A byte holds five base-3 digits as a fraction of 256: multiplied by 3^n (modulo 256), its first
/// digit is digit n.
RG_INLINE float ternary_digit(uint8_t packed, uint8_t power) {
  return (float)(((uint8_t)(packed * power) * 3 >> 8) - 1);
}

static void decode_tq1_0(const uint8_t *source, float *restrict result, size_t count) {
  static const uint8_t powers[5] = {1, 3, 9, 27, 81};
  const block_tq1_0 *block = (const block_tq1_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d);
    for (int n = 0; n < 5; n++) {
      for (int i = 0; i < 32; i++) {
        result[32 * n + i] = d * ternary_digit(block->qs[i], powers[n]);
      }
      for (int i = 0; i < 16; i++) {
        result[160 + 16 * n + i] = d * ternary_digit(block->qs[32 + i], powers[n]);
      }
    }
    for (int n = 0; n < 4; n++) {
      for (int i = 0; i < 4; i++) {
        result[240 + 4 * n + i] = d * ternary_digit(block->qh[i], powers[n]);
      }
    }
  }
}

static void decode_tq2_0(const uint8_t *source, float *restrict result, size_t count) {
  const block_tq2_0 *block = (const block_tq2_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d);
    for (int row = 0; row < 8; row++) {
      const uint8_t *qs = block->qs + 32 * (row / 4);
      int shift = 2 * (row % 4);
      for (int i = 0; i < 32; i++) {
        result[32 * row + i] = d * (float)((qs[i] >> shift & 3) - 1);
      }
    }
  }
}
