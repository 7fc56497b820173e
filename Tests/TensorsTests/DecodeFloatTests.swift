// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors
import TestSupport
import Testing

/// Decodes `bytes` from `offset` bytes past an aligned address.
func decode(
  _ bytes: [UInt8], _ type: ElementType, count: Int, offset: Int = 0
) throws(RegateError) -> [Float] {
  let padded = [UInt8](repeating: 0xA5, count: offset) + bytes
  return try padded.withBytes { (buffer) throws(RegateError) in
    try TensorDecoder.decode(
      buffer.extracting(offset..<buffer.byteCount), type: type, count: count)
  }
}

func littleEndian<T: FixedWidthInteger>(_ values: [T]) -> [UInt8] {
  values.flatMap(\.littleEndianBytes)
}

@Suite("Decoding plain elements") struct DecodeFloatTests {
  @Test(arguments: [(ElementType.f16, FloatFormula.f16), (.bf16, .bf16)])
  func `all 65536 patterns of a half have the value of their formula`(
    type: ElementType, formula: FloatFormula
  ) throws {
    let patterns = (0..<65536).map { UInt16($0) }
    let decoded = try decode(littleEndian(patterns), type, count: patterns.count)
    #expect(firstDifference(decoded, (0..<65536).map(formula.value)) == nil)
  }

  @Test(arguments: [
    (ElementType.f8e4m3, FloatFormula.e4m3), (.f8e5m2, .e5m2), (.f8e4m3fnuz, .e4m3fnuz),
    (.f8e5m2fnuz, .e5m2fnuz),
  ])
  func `all 256 patterns of an eight-bit float have the value of their formula`(
    type: ElementType, formula: FloatFormula
  ) throws {
    let decoded = try decode((0..<256).map { UInt8($0) }, type, count: 256)
    #expect(firstDifference(decoded, (0..<256).map(formula.value)) == nil)
  }

  @Test func `eight-bit floats reach their documented extremes`() throws {
    #expect(try decode([0x7E, 0xFE, 0x01, 0x80], .f8e4m3, count: 4) == [448, -448, 0x1p-9, -0.0])
    #expect(try decode([0x7B, 0x7C, 0x01], .f8e5m2, count: 3) == [57344, .infinity, 0x1p-16])
    #expect(try decode([0x7F, 0x01], .f8e4m3fnuz, count: 2) == [240, 0x1p-10])
    #expect(try decode([0x7F, 0x01], .f8e5m2fnuz, count: 2) == [57344, 0x1p-17])
    #expect(try decode([0x7F, 0xFF], .f8e4m3, count: 2).allSatisfy(\.isNaN))
  }

  @Test func `E8M0 is a power of two and 0xFF is NaN`() throws {
    let decoded = try decode((0..<256).map { UInt8($0) }, .f8e8m0, count: 256)
    let expected = (0..<255).map { Float(sign: .plus, exponent: $0 - 127, significand: 1) }
    #expect(firstDifference(decoded, expected + [.nan]) == nil)
  }

  @Test func `signalling halves become quiet NaNs with sign and payload`() throws {
    let decoded = try decode(littleEndian([0x7C01, 0xFD23] as [UInt16]), .f16, count: 2)
    #expect(decoded.map(\.bitPattern) == [0x7FC0_2000, 0xFFE4_6000])
  }

  @Test func `F64 is rounded to the nearest Float`() throws {
    let doubles: [Double] = [1 / 3, 1e300, -1e300, 1e-46, 0x1.000001p0, 0x1.000003p0]
    let decoded = try decode(littleEndian(doubles.map(\.bitPattern)), .f64, count: doubles.count)
    #expect(decoded == doubles.map { Float($0) })
  }

  @Test func `F32 keeps its bits`() throws {
    let bits: [UInt32] = [0, 0x8000_0000, 1, 0x7F7F_FFFF, 0x7F80_0000, 0xFFC1_2345, 0x3F80_0001]
    let decoded = try decode(littleEndian(bits), .f32, count: bits.count, offset: 3)
    #expect(decoded.map(\.bitPattern) == bits)
  }

  @Test func `small integers and booleans are exact`() throws {
    #expect(try decode([0, 1, 127, 128, 255], .i8, count: 5) == [0, 1, 127, -128, -1])
    #expect(try decode([0, 1, 127, 128, 255], .u8, count: 5) == [0, 1, 127, 128, 255])
    #expect(try decode([0, 1], .bool, count: 2) == [0, 1])
    let words: [UInt16] = [0, 0x7FFF, 0x8000, 0xFFFF]
    #expect(try decode(littleEndian(words), .i16, count: 4) == [0, 32767, -32768, -1])
    #expect(try decode(littleEndian(words), .u16, count: 4) == [0, 32767, 32768, 65535])
  }

  @Test func `wide integers are decoded where exact and refused where not`() throws {
    let exact: [Int64] = [0, -1, 1 << 24, -(1 << 62)]
    #expect(try decode(littleEndian(exact), .i64, count: 4) == exact.map { Float($0) })
    let inexact = littleEndian([7, 1 << 24 + 1] as [Int32])
    let error = #expect(throws: RegateError.self) { try decode(inexact, .i32, count: 2) }
    #expect(error?.description.contains("I32 element 1 is 16777217") == true)
    let integers = try inexact.withBytes { bytes in
      try TensorDecoder.integers(bytes, type: .i32, count: 2)
    }
    #expect(integers == [7, 16_777_217])
  }

  @Test func `integers refuses floats, and U64 values above Int`() {
    let bytes = littleEndian([UInt64.max])
    for type in [ElementType.u64, .f64] {
      #expect(throws: RegateError.self) {
        try bytes.withBytes { try TensorDecoder.integers($0, type: type, count: 1) }
      }
    }
  }

  @Test func `F4 pairs have the low nibble first and a negative zero`() throws {
    let decoded = try decode((0..<8).map { UInt8(2 * $0 | (2 * $0 + 1) << 4) }, .f4, count: 16)
    let magnitudes: [Float] = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    #expect(firstDifference(decoded, magnitudes + magnitudes.map { -$0 }) == nil)
  }

  @Test func `I4 pairs count from -8, the low half first`() throws {
    let decoded = try decode((0..<8).map { UInt8(2 * $0 | (2 * $0 + 1) << 4) }, .i4, count: 16)
    #expect(decoded == (-8..<8).map(Float.init))
  }

  @Test(arguments: [ElementType.c64, .f6e2m3, .f6e3m2])
  func `types without real values are refused by name`(type: ElementType) {
    #expect(!TensorDecoder.supports(type))
    let error = #expect(throws: RegateError.self) {
      try decode([UInt8](repeating: 0, count: 24), type, count: 24 * 8 / type.blockBits)
    }
    #expect(error?.code == .unsupported)
    #expect(error?.problem.contains(type.rawValue) == true)
  }

  @Test(arguments: ElementType.allCases.filter(TensorDecoder.supports))
  func `no elements decode to no values`(type: ElementType) throws {
    #expect(try decode([], type, count: 0) == [])
  }
}
