// SPDX-License-Identifier: Apache-2.0
//
// ggml's 32-element types: y = d*q or y = d*q + m. In the 4- and 5-bit types byte i of qs holds
// element i in its low nibble and element i + 16 in its high one.

static void decode_q4_0(const uint8_t *source, float *restrict result, size_t count) {
  const block_q4_0 *block = (const block_q4_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d);
    for (int i = 0; i < 16; i++) {
      result[i] = d * (float)((block->qs[i] & 15) - 8);
      result[i + 16] = d * (float)((block->qs[i] >> 4) - 8);
    }
  }
}

static void decode_q4_1(const uint8_t *source, float *restrict result, size_t count) {
  const block_q4_1 *block = (const block_q4_1 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d), m = load_f16(block->m);
    for (int i = 0; i < 16; i++) {
      result[i] = d * (float)(block->qs[i] & 15) + m;
      result[i + 16] = d * (float)(block->qs[i] >> 4) + m;
    }
  }
}

/// The fifth bits, as 0 or 16.
RG_INLINE void spread_fifth_bits(const uint8_t *bits, uint8_t *restrict spread) {
  for (int i = 0; i < 32; i++) spread[i] = bits[i / 8] & 1 << (i % 8) ? 16 : 0;
}

static void decode_q5_0(const uint8_t *source, float *restrict result, size_t count) {
  const block_q5_0 *block = (const block_q5_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d);
    uint8_t high[32];
    spread_fifth_bits(block->qh, high);
    for (int i = 0; i < 16; i++) {
      result[i] = d * (float)(((block->qs[i] & 15) | high[i]) - 16);
      result[i + 16] = d * (float)((block->qs[i] >> 4 | high[i + 16]) - 16);
    }
  }
}

static void decode_q5_1(const uint8_t *source, float *restrict result, size_t count) {
  const block_q5_1 *block = (const block_q5_1 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d), m = load_f16(block->m);
    uint8_t high[32];
    spread_fifth_bits(block->qh, high);
    for (int i = 0; i < 16; i++) {
      result[i] = d * (float)((block->qs[i] & 15) | high[i]) + m;
      result[i + 16] = d * (float)(block->qs[i] >> 4 | high[i + 16]) + m;
    }
  }
}

static void decode_q8_0(const uint8_t *source, float *restrict result, size_t count) {
  const block_q8_0 *block = (const block_q8_0 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d);
    for (int i = 0; i < 32; i++) result[i] = (float)(int8_t)block->qs[i] * d;
  }
}

static void decode_q8_1(const uint8_t *source, float *restrict result, size_t count) {
  const block_q8_1 *block = (const block_q8_1 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d);
    for (int i = 0; i < 32; i++) result[i] = (float)(int8_t)block->qs[i] * d;
  }
}
