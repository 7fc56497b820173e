// SPDX-License-Identifier: Apache-2.0
//
// Numbers as bytes, written from the definitions of their formats. Only values that a format holds
// exactly are accepted, so that one model has the same values in every container. Independent of
// the code under test.

/// A number format of the synthetic models.
public enum PlainType: String, Sendable {
  case f64 = "F64"
  case f32 = "F32"
  case f16 = "F16"
  case bf16 = "BF16"
  case fp8 = "F8_E4M3"
  /// GGUF only: blocks of an F16 scale and 32 signed bytes.
  case q8_0 = "Q8_0"

  /// ggml's number of the type.
  public var ggml: UInt32 {
    switch self {
    case .f32: 0
    case .f16: 1
    case .f64: 28
    case .bf16: 30
    case .q8_0: 8
    case .fp8: preconditionFailure("GGUF has no FP8")
    }
  }
}

extension PlainType {
  /// `values` in this format; `step` is what every value is a multiple of, at most 127 times.
  public func bytes(_ values: [Float], step: Float = 1) -> [UInt8] {
    switch self {
    case .f64: values.flatMap { littleEndian(Double($0).bitPattern) }
    case .f32: values.flatMap { littleEndian($0.bitPattern) }
    case .bf16: values.flatMap { littleEndian(Self.bf16($0)) }
    case .f16: values.flatMap { littleEndian(Self.f16($0)) }
    case .fp8: values.map(Self.fp8)
    case .q8_0: Self.blocks(values, step: step)
    }
  }

  static func bf16(_ value: Float) -> UInt16 {
    precondition(value.bitPattern & 0xFFFF == 0, "\(value) is not a BF16 number")
    return UInt16(value.bitPattern >> 16)
  }

  /// Normal numbers and zero.
  static func f16(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let sign = UInt16(bits >> 16 & 0x8000)
    guard value != 0 else { return sign }
    let exponent = Int(bits >> 23 & 0xFF) - 127 + 15
    precondition((1...30).contains(exponent) && bits & 0x1FFF == 0, "\(value) is not an F16 number")
    return sign | UInt16(exponent) << 10 | UInt16(bits >> 13 & 0x3FF)
  }

  /// E4M3: sign, four bits of exponent with bias 7, three of mantissa.
  static func fp8(_ value: Float) -> UInt8 {
    for code in UInt8(0)...0x7E {
      let mantissa = Float(code & 7)
      let exponent = Int(code >> 3)
      let magnitude =
        exponent == 0
        ? mantissa / 512
        : (1 + mantissa / 8) * Float(sign: .plus, exponent: exponent - 7, significand: 1)
      if magnitude == abs(value) { return value < 0 ? code | 0x80 : code }
    }
    preconditionFailure("\(value) is not an FP8 number")
  }

  private static func blocks(_ values: [Float], step: Float) -> [UInt8] {
    precondition(values.count % 32 == 0)
    var bytes: [UInt8] = []
    for (place, value) in values.enumerated() {
      if place % 32 == 0 { bytes += littleEndian(f16(step)) }
      let quotient = value / step
      precondition(quotient == quotient.rounded() && abs(quotient) <= 127)
      bytes.append(UInt8(bitPattern: Int8(quotient)))
    }
    return bytes
  }

  /// Reads `bytes` of a plain float format back.
  public func floats(_ bytes: [UInt8]) -> [Float] {
    func word(_ place: Int, _ count: Int) -> UInt32 {
      (0..<count).reduce(0) { $0 | UInt32(bytes[place + $1]) << UInt32(8 * $1) }
    }
    switch self {
    case .f32:
      return stride(from: 0, to: bytes.count, by: 4).map { Float(bitPattern: word($0, 4)) }
    case .bf16:
      return stride(from: 0, to: bytes.count, by: 2).map { Float(bitPattern: word($0, 2) << 16) }
    case .f64, .f16, .fp8, .q8_0: preconditionFailure("tests read no \(rawValue)")
    }
  }
}
