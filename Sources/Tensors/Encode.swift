// SPDX-License-Identifier: Apache-2.0
//
// Float to stored elements: IEEE 754 rounding to nearest, ties to even; overflow to infinity; NaN
// stays NaN, made quiet, with the sign and as much of the payload as fits.

package import ByteStorage

package enum TensorEncoder {
  /// The little-endian bytes of `values` as `type`: F64, F32, F16 or BF16.
  package static func encode(
    _ values: [Float], type: ElementType
  ) throws(RegateError) -> [UInt8] {
    switch type {
    case .f64: return bytes(of: values.map { Double($0).bitPattern })
    case .f32: return bytes(of: values.map(\.bitPattern))
    case .f16: return bytes(of: values.map(f16))
    case .bf16: return bytes(of: values.map(bf16))
    default:
      throw RegateError(
        .unsupported, "values cannot be written as \(type.rawValue)",
        advice: "Regate writes F64, F32, F16 and BF16")
    }
  }

  /// `values` as they read back after being stored as `type`.
  package static func rounded(
    _ values: [Float], to type: ElementType
  ) throws(RegateError) -> [Float] {
    let stored = try encode(values, type: type)
    return try stored.withBytes { (bytes) throws(RegateError) in
      try TensorDecoder.decode(bytes, type: type, count: values.count)
    }
  }

  /// The upper half of the bits, rounded.
  static func bf16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    if value.isNaN { return UInt16(bits >> 16) | 0x40 }
    // Half a unit, less one where the kept part is even; a carry into the exponent is right, and
    // the largest finite values become infinity. Cannot overflow: |bits| <= infinity's.
    return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
  }

  static func f16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(bits >> 16 & 0x8000)
    let magnitude = bits & 0x7FFF_FFFF
    if value.isNaN { return sign | 0x7E00 | UInt16(magnitude >> 13 & 0x3FF) }
    // 65520 lies half-way between the largest half, 65504, and what would follow it.
    if magnitude >= Float(65520).bitPattern { return sign | 0x7C00 }
    if magnitude < Float(sign: .plus, exponent: -14, significand: 1).bitPattern {
      // Subnormal: the float adder rounds at the unit of 0.5, which is 2^-24.
      let shifted = Float(bitPattern: magnitude) + 0.5
      return sign | UInt16(shifted.bitPattern - Float(0.5).bitPattern)
    }
    let rebiased = magnitude - (127 - 15) << 23
    return sign | UInt16((rebiased + 0xFFF + (rebiased >> 13 & 1)) >> 13)
  }

  private static func bytes<T: FixedWidthInteger & BitwiseCopyable>(of words: [T]) -> [UInt8] {
    words.map(\.littleEndian).withBytes { [UInt8](copying: $0) }
  }
}
