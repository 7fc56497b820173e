// SPDX-License-Identifier: Apache-2.0
//
// K-quants: 256 elements in groups of 16 or 32, each group with its own scale (and minimum), which
// are themselves quantised: y = (d*scale)*q - (dmin*minimum).

static void decode_q2_k(const uint8_t *source, float *restrict result, size_t count) {
  const block_q2_k *block = (const block_q2_k *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d), dmin = load_f16(block->dmin);
    for (int group = 0; group < 16; group++) {
      float scale = d * (float)(block->scales[group] & 15);
      float minimum = dmin * (float)(block->scales[group] >> 4);
      const uint8_t *qs = block->qs + 32 * (group / 8) + 16 * (group % 2);
      int shift = 2 * (group / 2 % 4);
      for (int i = 0; i < 16; i++) {
        result[16 * group + i] = scale * (float)(qs[i] >> shift & 3) - minimum;
      }
    }
  }
}

/// Scale `group` of 16: four low bits from two rows of eight nibbles, two high bits from the last
/// four bytes.
RG_INLINE int q3_k_scale(const uint8_t *scales, int group) {
  int low = scales[group % 8] >> 4 * (group / 8) & 15;
  int high = scales[8 + group % 4] >> 2 * (group / 4) & 3;
  return (low | high << 4) - 32;
}

static void decode_q3_k(const uint8_t *source, float *restrict result, size_t count) {
  const block_q3_k *block = (const block_q3_k *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d);
    for (int group = 0; group < 16; group++) {
      float scale = d * (float)q3_k_scale(block->scales, group);
      const uint8_t *qs = block->qs + 32 * (group / 8) + 16 * (group % 2);
      const uint8_t *mask = block->hmask + 16 * (group % 2);
      int shift = 2 * (group / 2 % 4), bit = group / 2;
      for (int i = 0; i < 16; i++) {
        // A set bit means no offset.
        int q = (qs[i] >> shift & 3) - 4 + 4 * (mask[i] >> bit & 1);
        result[16 * group + i] = scale * (float)q;
      }
    }
  }
}

/// Scale and minimum `group` of 8, six bits each: groups 0...3 lie in the low bits of bytes 0...7,
/// groups 4...7 in the nibbles of bytes 8...11 with their upper bits on top of bytes 0...7.
RG_INLINE void k_scale_minimum(const uint8_t *scales, int group, float *scale, float *minimum) {
  if (group < 4) {
    *scale = (float)(scales[group] & 63);
    *minimum = (float)(scales[group + 4] & 63);
  } else {
    *scale = (float)((scales[group + 4] & 15) | scales[group - 4] >> 6 << 4);
    *minimum = (float)(scales[group + 4] >> 4 | scales[group] >> 6 << 4);
  }
}

static void decode_q4_k(const uint8_t *source, float *restrict result, size_t count) {
  const block_q4_k *block = (const block_q4_k *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d), dmin = load_f16(block->dmin);
    for (int group = 0; group < 8; group++) {
      float scale, minimum;
      k_scale_minimum(block->scales, group, &scale, &minimum);
      scale = d * scale;
      minimum = dmin * minimum;
      const uint8_t *qs = block->qs + 32 * (group / 2);
      int shift = 4 * (group % 2);
      for (int i = 0; i < 32; i++) {
        result[32 * group + i] = scale * (float)(qs[i] >> shift & 15) - minimum;
      }
    }
  }
}

static void decode_q5_k(const uint8_t *source, float *restrict result, size_t count) {
  const block_q5_k *block = (const block_q5_k *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d), dmin = load_f16(block->dmin);
    for (int group = 0; group < 8; group++) {
      float scale, minimum;
      k_scale_minimum(block->scales, group, &scale, &minimum);
      scale = d * scale;
      minimum = dmin * minimum;
      const uint8_t *qs = block->qs + 32 * (group / 2);
      int shift = 4 * (group % 2);
      for (int i = 0; i < 32; i++) {
        int q = (qs[i] >> shift & 15) | (block->qh[i] >> group & 1) << 4;
        result[32 * group + i] = scale * (float)q - minimum;
      }
    }
  }
}

static void decode_q6_k(const uint8_t *source, float *restrict result, size_t count) {
  const block_q6_k *block = (const block_q6_k *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d);
    for (int group = 0; group < 16; group++) {
      float scale = d * (float)(int8_t)block->scales[group];
      int half = group / 8, part = group % 8;
      const uint8_t *ql = block->ql + 64 * half + 16 * (part % 4);
      const uint8_t *qh = block->qh + 32 * half + 16 * (part % 2);
      int lowShift = 4 * (part / 4), highShift = 2 * (part / 2);
      for (int i = 0; i < 16; i++) {
        int q = (ql[i] >> lowShift & 15) | (qh[i] >> highShift & 3) << 4;
        result[16 * group + i] = scale * (float)(q - 32);
      }
    }
  }
}

static void decode_q8_k(const uint8_t *source, float *restrict result, size_t count) {
  const block_q8_k *block = (const block_q8_k *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = float_from_bits(load32(block->d));
    for (int i = 0; i < 256; i++) result[i] = d * (float)(int8_t)block->qs[i];
  }
}
