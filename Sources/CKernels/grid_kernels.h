// SPDX-License-Identifier: Apache-2.0
//
// IQ types: an index into a grid of fixed points gives the magnitudes of eight (IQ2), four (IQ3) or
// the values of eight (IQ1) neighbouring elements, 256 elements to a block.

/// Seven stored sign bits; the eighth makes the number of minuses even.
RG_INLINE uint8_t even_signs(uint32_t seven) {
  seven &= 127;
  uint32_t parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (uint8_t)(seven | (parity & 1) << 7);
}

/// Eight elements of an IQ2 grid, whose codes 0, 1, 2 stand for 8, 25, 43.
RG_INLINE void write_iq2(float *restrict result, float scale, uint16_t point, uint8_t signs) {
  for (int i = 0; i < 8; i++) {
    int code = point >> 2 * i & 3;
    float value = scale * (float)(8 + 17 * code + (code >> 1));
    result[i] = signs >> i & 1 ? -value : value;
  }
}

static void decode_iq2_xxs(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq2_xxs *block = (const block_iq2_xxs *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = load_f16(block->d);
    for (int group = 0; group < 8; group++) {
      uint32_t packed = load32(block->groups[group].signs);
      float scale = d * (0.5f + (float)(packed >> 28)) * 0.25f;
      for (int l = 0; l < 4; l++, result += 8) {
        uint16_t point = rg_iq2_xxs_grid[block->groups[group].index[l]];
        write_iq2(result, scale, point, even_signs(packed >> 7 * l));
      }
    }
  }
}

static void decode_iq2_xs(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq2_xs *block = (const block_iq2_xs *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = load_f16(block->d);
    for (int l = 0; l < 32; l++, result += 8) {
      uint16_t q = load16(block->qs + 2 * l);
      float scale = d * (0.5f + (float)(block->scales[l / 4] >> 4 * (l / 2 % 2) & 15)) * 0.25f;
      write_iq2(result, scale, rg_iq2_xs_grid[q & 511], even_signs(q >> 9));
    }
  }
}

static void decode_iq2_s(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq2_s *block = (const block_iq2_s *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = load_f16(block->d);
    for (int l = 0; l < 32; l++, result += 8) {
      int index = block->qs[l] | (block->qh[l / 4] >> 2 * (l % 4) & 3) << 8;
      float scale = d * (0.5f + (float)(block->scales[l / 4] >> 4 * (l / 2 % 2) & 15)) * 0.25f;
      write_iq2(result, scale, rg_iq2_s_grid[index], block->signs[l]);
    }
  }
}

/// Codes 0...7 of IQ3_XXS stand for 4, 12, ... 52 and 62; four elements.
RG_INLINE void write_iq3_xxs(float *restrict result, float scale, uint16_t point, uint8_t signs) {
  for (int i = 0; i < 4; i++) {
    int code = point >> 4 * i & 7;
    float value = scale * (float)(4 + 8 * code + (code == 7 ? 2 : 0));
    result[i] = signs >> i & 1 ? -value : value;
  }
}

static void decode_iq3_xxs(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq3_xxs *block = (const block_iq3_xxs *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = load_f16(block->d);
    for (int group = 0; group < 8; group++) {
      uint32_t packed = load32(block->signs + 4 * group);
      float scale = d * (0.5f + (float)(packed >> 28)) * 0.5f;
      for (int l = 0; l < 4; l++, result += 8) {
        const uint8_t *qs = block->qs + 8 * group + 2 * l;
        uint8_t signs = even_signs(packed >> 7 * l);
        write_iq3_xxs(result, scale, rg_iq3_xxs_grid[qs[0]], signs);
        write_iq3_xxs(result + 4, scale, rg_iq3_xxs_grid[qs[1]], signs >> 4);
      }
    }
  }
}

/// Codes 0...7 of IQ3_S stand for 1, 3, ... 15; four elements.
RG_INLINE void write_iq3_s(float *restrict result, float scale, uint16_t point, uint8_t signs) {
  for (int i = 0; i < 4; i++) {
    float value = scale * (float)(1 + 2 * (point >> 4 * i & 7));
    result[i] = signs >> i & 1 ? -value : value;
  }
}

static void decode_iq3_s(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq3_s *block = (const block_iq3_s *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = load_f16(block->d);
    for (int q = 0; q < 64; q++, result += 4) {
      int group = q / 8;
      int index = block->qs[q] | (block->qh[group] >> (q % 8) & 1) << 8;
      float scale = d * (float)(1 + 2 * (block->scales[group / 2] >> 4 * (group % 2) & 15));
      write_iq3_s(result, scale, rg_iq3_s_grid[index], block->signs[q / 2] >> 4 * (q % 2));
    }
  }
}

/// Eight elements of the IQ1 grid: codes 0, 1, 2 stand for -1, 0, 1, moved by `delta`.
RG_INLINE void write_iq1(float *restrict result, float scale, uint16_t point, float delta) {
  for (int i = 0; i < 8; i++) {
    result[i] = scale * ((float)((point >> 2 * i & 3) - 1) + delta);
  }
}

static void decode_iq1_s(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq1_s *block = (const block_iq1_s *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = load_f16(block->d);
    for (int l = 0; l < 32; l++, result += 8) {
      uint16_t high = load16(block->qh + 2 * (l / 4));
      float scale = d * (float)(2 * (high >> 12 & 7) + 1);
      int index = block->qs[l] | (high >> 3 * (l % 4) & 7) << 8;
      write_iq1(result, scale, rg_iq1_grid[index], high & 0x8000 ? -0.125f : 0.125f);
    }
  }
}

/// The binary16 scale of IQ1_M is spread over the top four bits of its four scale words.
RG_INLINE float iq1_m_d(const uint8_t *scales) {
  uint32_t bits = 0;
  for (int word = 0; word < 4; word++) {
    bits |= (uint32_t)(scales[2 * word + 1] >> 4) << 4 * word;
  }
  return float_from_f16((uint16_t)bits);
}

static void decode_iq1_m(const uint8_t *source, float *restrict result, size_t count) {
  const block_iq1_m *block = (const block_iq1_m *)source;
  for (size_t b = 0; b < count; b++, block++) {
    float d = iq1_m_d(block->scales);
    for (int l = 0; l < 32; l++, result += 8) {
      int scaleBits = load16(block->scales + 2 * (l / 8)) >> 3 * (l / 2 % 4) & 7;
      float scale = d * (float)(2 * scaleBits + 1);
      int nibble = block->qh[l / 2] >> 4 * (l % 2);
      int index = block->qs[l] | (nibble & 7) << 8;
      write_iq1(result, scale, rg_iq1_grid[index], nibble & 8 ? -0.125f : 0.125f);
    }
  }
}
