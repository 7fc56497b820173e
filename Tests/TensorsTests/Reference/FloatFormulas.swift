// SPDX-License-Identifier: Apache-2.0
//
// Narrow floats by their defining formula, in Double: sign * 2^(exponent - bias) * (1 + mantissa),
// or sign * 2^(1 - bias) * mantissa when the exponent field is zero.

import Foundation

struct FloatFormula {
  enum Specials {
    /// IEEE: the top exponent holds infinity and NaN.
    case ieee
    /// "fn": only all ones is NaN.
    case finite
    /// FNUZ: only the pattern of -0 is NaN.
    case finiteUnsignedZero
  }
  var exponentBits: Int
  var mantissaBits: Int
  var bias: Int
  var specials: Specials

  static let f16 = FloatFormula(exponentBits: 5, mantissaBits: 10, bias: 15, specials: .ieee)
  static let bf16 = FloatFormula(exponentBits: 8, mantissaBits: 7, bias: 127, specials: .ieee)
  static let e4m3 = FloatFormula(exponentBits: 4, mantissaBits: 3, bias: 7, specials: .finite)
  static let e5m2 = FloatFormula(exponentBits: 5, mantissaBits: 2, bias: 15, specials: .ieee)
  static let e4m3fnuz = FloatFormula(
    exponentBits: 4, mantissaBits: 3, bias: 8, specials: .finiteUnsignedZero)
  static let e5m2fnuz = FloatFormula(
    exponentBits: 5, mantissaBits: 2, bias: 16, specials: .finiteUnsignedZero)

  func value(_ bits: Int) -> Float {
    let mantissa = bits & (1 << mantissaBits - 1)
    let exponent = bits >> mantissaBits & (1 << exponentBits - 1)
    let negative = bits >> (mantissaBits + exponentBits) & 1 == 1
    let top = 1 << exponentBits - 1
    switch specials {
    case .ieee where exponent == top:
      return mantissa != 0 ? .nan : negative ? -.infinity : .infinity
    case .finite where exponent == top && mantissa == 1 << mantissaBits - 1: return .nan
    case .finiteUnsignedZero where negative && exponent == 0 && mantissa == 0: return .nan
    default: break
    }
    let fraction = Double(mantissa) / Double(1 << mantissaBits)
    let magnitude =
      exponent == 0
      ? fraction * pow(2, Double(1 - bias)) : (1 + fraction) * pow(2, Double(exponent - bias))
    return Float(negative ? -magnitude : magnitude)
  }
}

/// Equal bits, or both NaN: the payload and sign of a NaN result are left open by IEEE 754.
func sameBits(_ a: Float, _ b: Float) -> Bool {
  a.bitPattern == b.bitPattern || a.isNaN && b.isNaN
}

/// The first index at which two arrays differ in bits.
func firstDifference(_ a: [Float], _ b: [Float]) -> Int? {
  guard a.count == b.count else { return min(a.count, b.count) }
  return a.indices.first { !sameBits(a[$0], b[$0]) }
}
