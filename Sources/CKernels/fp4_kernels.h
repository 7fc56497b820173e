// SPDX-License-Identifier: Apache-2.0
//
// Four-bit codes that index a fixed list of values: MXFP4 (OCP MX 1.0), NVFP4, IQ4_NL, IQ4_XS.

/// Half of 2^(e - 127), by ggml's rule: no NaN, subnormal for e = 0 and 1.
RG_INLINE float half_e8m0(uint8_t e) {
  return float_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

static void decode_mxfp4(const uint8_t *source, float *restrict result, size_t count) {
  const block_mxfp4 *block = (const block_mxfp4 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = half_e8m0(block->e);
    for (int i = 0; i < 16; i++) {
      result[i] = d * (float)doubled_e2m1(block->qs[i] & 15);
      result[i + 16] = d * (float)doubled_e2m1(block->qs[i] >> 4);
    }
  }
}

/// Half of an unsigned E4M3 scale, by ggml's rule: bit 7 is ignored, 0x7F is zero.
RG_INLINE float half_ue4m3(uint8_t value) {
  if (value == 0x7F) return 0;
  return float_from_bits((uint32_t)(value & 0x7F) << 20) * 0x1p119f;
}

static void decode_nvfp4(const uint8_t *source, float *restrict result, size_t count) {
  const block_nvfp4 *block = (const block_nvfp4 *)source;
  for (size_t b = 0; b < count; b++, block++, result += 64) {
    for (int group = 0; group < 4; group++) {
      float d = half_ue4m3(block->d[group]);
      const uint8_t *qs = block->qs + 8 * group;
      for (int i = 0; i < 8; i++) {
        result[16 * group + i] = d * (float)doubled_e2m1(qs[i] & 15);
        result[16 * group + 8 + i] = d * (float)doubled_e2m1(qs[i] >> 4);
      }
    }
  }
}

static const int8_t iq4_values[16] = {
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};

static void decode_iq4_nl(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq4_nl *block = (const block_iq4_nl *)source;
  for (size_t b = 0; b < count; b++, block++, result += 32) {
    float d = load_f16(block->d);
    for (int i = 0; i < 16; i++) {
      result[i] = d * (float)iq4_values[block->qs[i] & 15];
      result[i + 16] = d * (float)iq4_values[block->qs[i] >> 4];
    }
  }
}

static void decode_iq4_xs(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq4_xs *block = (const block_iq4_xs *)source;
  for (size_t b = 0; b < count; b++, block++, result += 256) {
    float d = load_f16(block->d);
    uint16_t high = load16(block->scales_h);
    for (int group = 0; group < 8; group++) {
      int low = block->scales_l[group / 2] >> 4 * (group % 2) & 15;
      float scale = d * (float)((low | (high >> 2 * group & 3) << 4) - 32);
      const uint8_t *qs = block->qs + 16 * group;
      for (int i = 0; i < 16; i++) {
        result[32 * group + i] = scale * (float)iq4_values[qs[i] & 15];
        result[32 * group + 16 + i] = scale * (float)iq4_values[qs[i] >> 4];
      }
    }
  }
}
