// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors
import TestSupport
import Testing

@Suite("Encoding floats") struct EncodeTests {
  private func words(_ values: [Float], _ type: ElementType) throws -> [Int] {
    let bytes = try TensorEncoder.encode(values, type: type)
    return stride(from: 0, to: bytes.count, by: 2).map { Int(bytes[$0]) | Int(bytes[$0 + 1]) << 8 }
  }

  @Test(arguments: [ElementType.f16, .bf16])
  func `every pattern survives decoding and encoding`(type: ElementType) throws {
    let patterns = (0..<65536).map { UInt16($0) }
    let decoded = try decode(littleEndian(patterns), type, count: patterns.count)
    let encoded = try words(decoded, type)
    let quiet = type == .f16 ? 0x200 : 0x40
    let wrong = patterns.indices.first {
      encoded[$0] != (decoded[$0].isNaN ? Int(patterns[$0]) | quiet : Int(patterns[$0]))
    }
    #expect(wrong == nil)
  }

  /// The value half-way between two neighbours goes to the even one, anything nearer to the nearer.
  @Test(arguments: [
    (ElementType.f16, FloatFormula.f16, 0x7BFF), (.bf16, FloatFormula.bf16, 0x7F7F),
  ])
  func `ties go to even and the rest to the nearest, over all finite numbers`(
    type: ElementType, formula: FloatFormula, largest: Int
  ) throws {
    let lower = (0..<largest).map { Double(formula.value($0)) }
    let upper = (0..<largest).map { Double(formula.value($0 + 1)) }
    let ties = zip(lower, upper).map { Float(($0 + $1) / 2) }
    // Exact: Float has at least one bit more than either type, at both ends of the exponent range.
    #expect(try words(ties, type) == (0..<largest).map { $0 + $0 % 2 })
    #expect(try words(ties.map(\.nextDown), type) == Array(0..<largest))
    #expect(try words(ties.map(\.nextUp), type) == Array(1...largest))
    #expect(try words(ties.map { -$0 }, type) == (0..<largest).map { 0x8000 | $0 + $0 % 2 })
  }

  @Test func `values past the largest become infinity from half a unit on`() throws {
    #expect(
      try words([65504, 65519.996, 65520, -65520], .f16) == [0x7BFF, 0x7BFF, 0x7C00, 0xFC00])
    let overflow: [Float] = [.infinity, -.infinity, .greatestFiniteMagnitude, 1e30]
    #expect(try words(overflow, .f16) == [0x7C00, 0xFC00, 0x7C00, 0x7C00])
    let edge = Float(bitPattern: 0x7F7F_7FFF)
    let half = edge.nextUp
    #expect(try words([edge, half, -half, -.infinity], .bf16) == [0x7F7F, 0x7F80, 0xFF80, 0xFF80])
  }

  @Test func `values below half of the least subnormal become zero with their sign`() throws {
    let half: Float = 0x1p-25
    let values = [half, half.nextUp, -half, -half.nextUp, .leastNonzeroMagnitude]
    #expect(try words(values, .f16) == [0, 1, 0x8000, 0x8001, 0])
  }

  @Test func `NaN stays NaN, quiet, with its sign`() throws {
    let signalling = Float(bitPattern: 0xFF80_0001)
    #expect(try words([.nan, signalling], .f16) == [0x7E00, 0xFE00])
    #expect(try words([.nan, signalling], .bf16) == [0x7FC0, 0xFFC0])
  }

  @Test func `F32 and F64 keep every value`() throws {
    let values: [Float] = [
      0, -0.0, 1 / 3, .leastNonzeroMagnitude, -.greatestFiniteMagnitude, .infinity,
    ]
    for type in [ElementType.f32, .f64] {
      let bytes = try TensorEncoder.encode(values, type: type)
      #expect(bytes.count == type.byteCount(of: values.count))
      #expect(
        try decode(bytes, type, count: values.count).map(\.bitPattern) == values.map(\.bitPattern))
    }
  }

  @Test func `rounded gives what reads back`() throws {
    let values: [Float] = [1 / 3, 1.00390625, 1e-30, 70000]
    #expect(try TensorEncoder.rounded(values, to: .bf16) == [0.333984375, 1, 0x1.44p-100, 70144])
    #expect(
      try TensorEncoder.rounded(values, to: .f16) == [0.333251953125, 1.00390625, 0, .infinity])
    #expect(try TensorEncoder.rounded(values, to: .f32) == values)
  }

  @Test(arguments: [ElementType.q8_0, .f8e4m3, .i8])
  func `other types are refused by name`(type: ElementType) {
    let error = #expect(throws: RegateError.self) { try TensorEncoder.encode([1], type: type) }
    #expect(error?.problem.contains(type.rawValue) == true)
  }
}
