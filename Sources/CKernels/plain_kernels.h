// SPDX-License-Identifier: Apache-2.0
//
// Elements that stand alone: plain floats, 8-bit floats and small integers (all exact, except that
// binary64 is rounded to nearest), and E2M1 pairs.

static void decode_f64(const uint8_t *source, float *restrict result, size_t count) {
  for (size_t i = 0; i < count; i++) {
    double value;
    memcpy(&value, source + 8 * i, sizeof value);
    result[i] = (float)value;
  }
}

static void decode_f32(const uint8_t *source, float *restrict result, size_t count) {
  if (count > 0) memcpy(result, source, 4 * count);
}

#define RG_DECODE(name, stored, convert)                                                  \
  static void decode_##name(const uint8_t *source, float *restrict result, size_t count) { \
    for (size_t i = 0; i < count; i++) {                                                  \
      stored value;                                                                       \
      memcpy(&value, source + sizeof value * i, sizeof value);                            \
      result[i] = convert(value);                                                         \
    }                                                                                     \
  }

RG_DECODE(f16, uint16_t, float_from_f16)
RG_DECODE(bf16, uint16_t, float_from_bf16)
RG_DECODE(f8e4m3, uint8_t, float_from_e4m3)
RG_DECODE(f8e5m2, uint8_t, float_from_e5m2)
RG_DECODE(f8e8m0, uint8_t, float_from_e8m0)
RG_DECODE(f8e4m3fnuz, uint8_t, float_from_e4m3fnuz)
RG_DECODE(f8e5m2fnuz, uint8_t, float_from_e5m2fnuz)
RG_DECODE(i8, int8_t, (float))
RG_DECODE(u8, uint8_t, (float))
RG_DECODE(i16, int16_t, (float))
RG_DECODE(u16, uint16_t, (float))
#undef RG_DECODE

/// safetensors F4: E2M1, the first element of a pair in the low nibble; nibble 8 is -0.
static void decode_f4(const uint8_t *source, float *restrict result, size_t count) {
  for (size_t i = 0; i < 2 * count; i++) {
    uint8_t nibble = source[i / 2] >> 4 * (i % 2) & 15;
    float magnitude = 0.5f * (float)doubled_e2m1(nibble & 7);
    result[i] = nibble & 8 ? -magnitude : magnitude;
  }
}

/// Integers from -8 in half bytes, the first of a pair in the low one.
static void decode_i4(const uint8_t *source, float *restrict result, size_t count) {
  for (size_t i = 0; i < 2 * count; i++) {
    result[i] = (float)(source[i / 2] >> 4 * (i % 2) & 15) - 8.0f;
  }
}

static void scale_values(float *values, float factor, size_t count) {
  for (size_t i = 0; i < count; i++) values[i] *= factor;
}
