// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Tensors
import TestSupport
import Testing

@Suite("Weights with separate scales") struct BlockScaleTests {
  private func randomBytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
  }

  private func decode(
    _ decoder: BlockScaledDecoder, _ bytes: [UInt8], type: ElementType, rows: Range<Int>
  ) throws -> [Float] {
    try bytes.withBytes { try decoder.decode($0, type: type, rows: rows) }
  }

  @Test(arguments: [
    (576, 300, 128, 128), (3, 5, 2, 4), (128, 128, 128, 128), (7, 9, 1, 9), (4, 6, 4, 6),
  ])
  func `each weight is multiplied by the scale of its block, partial blocks too`(
    rows: Int, columns: Int, blockRows: Int, blockColumns: Int
  ) throws {
    let bytes = randomBytes(rows * columns, seed: 3)
    let gridColumns = (columns - 1) / blockColumns + 1
    let scales = (0..<((rows - 1) / blockRows + 1) * gridColumns).map { 0.001 * Float($0 + 1) }
    let decoder = try BlockScaledDecoder(
      rows: rows, columns: columns, blockRows: blockRows, blockColumns: blockColumns,
      scales: scales)
    let naive = (0..<rows * columns).map { index in
      let (row, column) = (index / columns, index % columns)
      return FloatFormula.e4m3.value(Int(bytes[index]))
        * scales[row / blockRows * gridColumns + column / blockColumns]
    }
    let all = try bytes.withBytes { try decoder.decode($0, type: .f8e4m3) }
    #expect(firstDifference(all, naive) == nil)

    let part = rows / 3..<rows
    let slice = Array(bytes[part.lowerBound * columns..<part.upperBound * columns])
    let partial = try decode(decoder, slice, type: .f8e4m3, rows: part)
    #expect(firstDifference(partial, Array(naive[(part.lowerBound * columns)...])) == nil)
  }

  @Test func `scales come as F32, BF16, F16, E4M3, E8M0 and as U8 exponents`() throws {
    let cases: [(ElementType, [UInt8])] = [
      (.f32, littleEndian([Float(0.5).bitPattern, Float(4).bitPattern])),
      (.bf16, littleEndian([0x3F00, 0x4080] as [UInt16])),
      (.f16, littleEndian([0x3800, 0x4400] as [UInt16])), (.f8e4m3, [0x30, 0x48]),
      (.f8e8m0, [126, 129]), (.u8, [126, 129]),
    ]
    for (type, bytes) in cases {
      let scales = try bytes.withBytes {
        try BlockScaledDecoder.scales($0, type: type, count: 2)
      }
      #expect(scales == [0.5, 4], "\(type)")
    }
  }

  @Test func `a scale grid of another size is refused with both sizes`() {
    let error = #expect(throws: RegateError.self) {
      try BlockScaledDecoder(
        rows: 576, columns: 128, blockRows: 128, blockColumns: 128, scales: [1, 1, 1, 1])
    }
    #expect(error?.code == .mismatch)
    #expect(error?.problem.contains("4 scales") == true)
    #expect(error?.problem.contains("expected [5, 1]") == true)
  }

  @Test func `block sizes must be positive, rows whole blocks of their type, scale types known`()
    throws
  {
    #expect(throws: RegateError.self) {
      try BlockScaledDecoder(rows: 2, columns: 2, blockRows: 0, blockColumns: 2, scales: [])
    }
    let decoder = try BlockScaledDecoder(
      rows: 1, columns: 1, blockRows: 1, blockColumns: 1, scales: [1])
    #expect(throws: RegateError.self) { try decode(decoder, [0], type: .q8_0, rows: 0..<1) }
    #expect(throws: RegateError.self) {
      try [0 as UInt8].withBytes { try BlockScaledDecoder.scales($0, type: .i64, count: 1) }
    }
  }
}
