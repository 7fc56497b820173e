// SPDX-License-Identifier: Apache-2.0
//
// Naive twins of the block kernels: element `i` of a block from its bytes, one formula per type,
// as ggml's documentation of the formats gives them. No loops shared with the kernels.

import Tensors

struct NaiveBlock {
  let bytes: [UInt8]

  func u8(_ at: Int) -> Int { Int(bytes[at]) }
  func s8(_ at: Int) -> Int { Int(Int8(bitPattern: bytes[at])) }
  func u16(_ at: Int) -> Int { u8(at) | u8(at + 1) << 8 }
  func u32(_ at: Int) -> Int { u16(at) | u16(at + 2) << 16 }
  func half(_ at: Int) -> Float { FloatFormula.f16.value(u16(at)) }
  func nibble(_ at: Int, _ high: Int) -> Int { u8(at) >> (4 * high) & 15 }

  static let e2m1Doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12]
  static let iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

  /// Element `i`, or nil for types without a twin here (grids: see the digests).
  func element(_ i: Int, of type: ElementType) -> Float? {
    switch type {
    case .q4_0: return half(0) * Float(nibble(2 + i % 16, i / 16) - 8)
    case .q4_1: return half(0) * Float(nibble(4 + i % 16, i / 16)) + half(2)
    case .q5_0:
      return half(0) * Float((nibble(6 + i % 16, i / 16) | (u32(2) >> i & 1) << 4) - 16)
    case .q5_1:
      return half(0) * Float(nibble(8 + i % 16, i / 16) | (u32(4) >> i & 1) << 4) + half(2)
    case .q8_0: return half(0) * Float(s8(2 + i))
    case .q8_1: return half(0) * Float(s8(4 + i))
    case .iq4_NL: return half(0) * Float(Self.iq4[nibble(2 + i % 16, i / 16)])
    case .mxfp4:
      let d = Float(sign: .plus, exponent: u8(0) - 127, significand: 0.5)
      return d * Float(Self.e2m1Doubled[nibble(1 + i % 16, i / 16)])
    case .nvfp4: return nvfp4(i)
    case .q1_0: return u8(2 + i / 8) >> (i % 8) & 1 == 1 ? half(0) : -half(0)
    case .q2_0: return half(0) * Float((u8(2 + i / 4) >> (2 * (i % 4)) & 3) - 1)
    case .tq1_0: return tq1(i)
    case .tq2_0: return half(64) * Float((twoBits(0, i)) - 1)
    case .iq4_XS: return iq4xs(i)
    case .q2_K, .q3_K, .q4_K, .q5_K, .q6_K, .q8_K: return kQuant(i, type)
    default: return nil
    }
  }

  /// Two-bit element `i` of 256 stored in 32-byte rows from `base` on.
  private func twoBits(_ base: Int, _ i: Int) -> Int {
    u8(base + 32 * (i / 128) + i % 32) >> (2 * (i % 128 / 32)) & 3
  }

  private func nvfp4(_ i: Int) -> Float {
    let scale = u8(i / 16)
    let value = scale == 0x7F ? 0 : FloatFormula.e4m3.unsigned(scale)
    let q = Self.e2m1Doubled[nibble(4 + 8 * (i / 16) + i % 8, i % 16 / 8)]
    return value / 2 * Float(q)
  }

  private func tq1(_ i: Int) -> Float {
    let powers = [1, 3, 9, 27, 81]
    let (byte, n) =
      i < 160
      ? (i % 32, i / 32)
      : i < 240 ? (32 + (i - 160) % 16, (i - 160) / 16) : (48 + (i - 240) % 4, (i - 240) / 4)
    return half(52) * Float(((u8(byte) * powers[n] & 255) * 3) / 256 - 1)
  }

  private func iq4xs(_ i: Int) -> Float {
    let j = i / 32
    let scale = (nibble(4 + j / 2, j % 2) | (u16(2) >> (2 * j) & 3) << 4) - 32
    return half(0) * Float(scale) * Float(Self.iq4[nibble(8 + 16 * j + i % 16, i % 32 / 16)])
  }

  private func kQuant(_ i: Int, _ type: ElementType) -> Float {
    switch type {
    case .q2_K:
      let scale = u8(i / 16)
      return half(80) * Float(scale & 15) * Float(twoBits(16, i)) - half(82) * Float(scale >> 4)
    case .q3_K:
      let j = i / 16
      let low = j < 8 ? u8(96 + j) & 15 : u8(96 + j - 8) >> 4
      let high = u8(96 + 8 + j % 4) >> (2 * (j / 4)) & 3
      let q = twoBits(32, i) - (u8(i % 32) >> (i / 32) & 1 == 1 ? 0 : 4)
      return half(108) * Float((low | high << 4) - 32) * Float(q)
    case .q4_K, .q5_K:
      let (scale, minimum) = scaleAndMinimum(i / 32)
      let base = type == .q4_K ? 16 : 48
      var q = nibble(base + 32 * (i / 64) + i % 32, i / 32 % 2)
      if type == .q5_K { q += 16 * (u8(16 + i % 32) >> (i / 32) & 1) }
      return half(0) * Float(scale) * Float(q) - half(2) * Float(minimum)
    case .q6_K:
      let h = i / 128
      let r = i % 128
      let high = u8(128 + 32 * h + r % 32) >> (2 * (r / 32)) & 3
      let q = (nibble(64 * h + r % 64, r / 64) | high << 4) - 32
      return half(208) * Float(s8(192 + i / 16)) * Float(q)
    default: return Float(bitPattern: UInt32(u32(0))) * Float(s8(4 + i))
    }
  }

  private func scaleAndMinimum(_ j: Int) -> (Int, Int) {
    func sc(_ k: Int) -> Int { u8(4 + k) }
    return j < 4
      ? (sc(j) & 63, sc(j + 4) & 63)
      : (sc(j + 4) & 15 | (sc(j - 4) >> 6) << 4, sc(j + 4) >> 4 | (sc(j) >> 6) << 4)
  }
}

extension FloatFormula {
  /// As if the sign bit were not there, and without NaN.
  func unsigned(_ bits: Int) -> Float {
    FloatFormula(
      exponentBits: exponentBits + 1, mantissaBits: mantissaBits, bias: bias, specials: .finite
    ).value(bits & 0x7F)
  }
}
