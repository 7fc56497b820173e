// SPDX-License-Identifier: Apache-2.0
//
// Single elements: IEEE 754 binary16, bfloat16, the OCP 8-bit formats (OFP8 1.0, MX 1.0) and their
// FNUZ variants. All are branch-free, so that loops over them vectorise.
//
// A narrow float placed at the top of a float32's exponent and mantissa fields and multiplied by
// 2^(127 - its bias) is that number exactly, subnormals included.
#ifndef CKERNELS_SCALARS_H
#define CKERNELS_SCALARS_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian");

#define RG_INLINE static inline __attribute__((always_inline, unused))

RG_INLINE uint16_t load16(const uint8_t *bytes) {
  return (uint16_t)(bytes[0] | bytes[1] << 8);
}

RG_INLINE uint32_t load32(const uint8_t *bytes) {
  return load16(bytes) | (uint32_t)load16(bytes + 2) << 16;
}

RG_INLINE float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

RG_INLINE uint32_t bits_from_float(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// Signalling NaNs become quiet, as the conversion instructions of every CPU do.
RG_INLINE float float_from_f16(uint16_t half) {
  uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
  uint32_t finite = bits_from_float(float_from_bits(magnitude) * 0x1p112f);
  uint32_t special = magnitude | 0x7F800000u | ((half & 0x3FF) != 0 ? 0x400000u : 0);
  uint32_t bits = magnitude >= 0x0F800000u ? special : finite;
  return float_from_bits(bits | (uint32_t)(half & 0x8000) << 16);
}

RG_INLINE float load_f16(const uint8_t *bytes) { return float_from_f16(load16(bytes)); }

RG_INLINE float float_from_bf16(uint16_t value) { return float_from_bits((uint32_t)value << 16); }

/// E4M3 "fn": bias 7, no infinities, NaN is all ones.
RG_INLINE float float_from_e4m3(uint8_t value) {
  uint32_t finite = bits_from_float(float_from_bits((uint32_t)(value & 0x7F) << 20) * 0x1p120f);
  uint32_t bits = (value & 0x7F) == 0x7F ? 0x7FC00000u : finite;
  return float_from_bits(bits | (uint32_t)(value & 0x80) << 24);
}

/// E5M2: the upper half of a binary16.
RG_INLINE float float_from_e5m2(uint8_t value) { return float_from_f16((uint16_t)(value << 8)); }

/// E8M0: 2^(value - 127), 0xFF is NaN; 2^-127 is subnormal.
RG_INLINE float float_from_e8m0(uint8_t value) {
  uint32_t bits = value == 0 ? 0x00400000u : (uint32_t)value << 23;
  return float_from_bits(value == 0xFF ? 0x7FC00000u : bits);
}

/// FNUZ: 0x80 is the only NaN, neither infinities nor -0; bias 8 for E4M3, 16 for E5M2.
RG_INLINE float float_from_e4m3fnuz(uint8_t value) {
  uint32_t finite = bits_from_float(float_from_bits((uint32_t)(value & 0x7F) << 20) * 0x1p119f);
  uint32_t bits = finite | (uint32_t)(value & 0x80) << 24;
  return float_from_bits(value == 0x80 ? 0x7FC00000u : bits);
}

RG_INLINE float float_from_e5m2fnuz(uint8_t value) {
  uint32_t finite = bits_from_float(float_from_bits((uint32_t)(value & 0x7F) << 21) * 0x1p111f);
  uint32_t bits = finite | (uint32_t)(value & 0x80) << 24;
  return float_from_bits(value == 0x80 ? 0x7FC00000u : bits);
}

/// Twice the value of an E2M1 nibble: 0, 1, 2, 3, 4, 6, 8, 12 and negatives. Doubled and integer,
/// as ggml has it: nibble 8 is 0, not -0.
RG_INLINE int doubled_e2m1(uint8_t nibble) {
  static const int8_t values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return values[nibble & 15];
}

#endif
