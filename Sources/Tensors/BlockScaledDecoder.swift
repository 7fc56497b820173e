// SPDX-License-Identifier: Apache-2.0
//
// Eight-bit weights with one scale per block of a matrix, as DeepSeek's FP8 checkpoints store them:
//
//   weight  F8_E4M3 [rows, columns]
//   scales  [ceil(rows / blockRows), ceil(columns / blockColumns)]
//   w[r, c] = weight[r, c] * scales[r / blockRows, c / blockColumns]
//
// The blocks are those that the checkpoint declares (`weight_block_size`); those at the right and
// bottom edges may be partial, so block sizes cannot be had by dividing the shapes. One float32
// product per element, as in transformers 5.

package import ByteStorage

package struct BlockScaledDecoder: Sendable {
  package let rows: Int
  package let columns: Int
  package let blockRows: Int
  package let blockColumns: Int
  private let scales: [Float]

  /// `scales` holds the scale grid row by row. A scale per row is a block of [1, columns], a scale
  /// per tensor a block of [rows, columns].
  package init(
    rows: Int, columns: Int, blockRows: Int, blockColumns: Int, scales: [Float]
  ) throws(RegateError) {
    precondition(rows >= 0 && columns >= 0)
    guard blockRows > 0, blockColumns > 0 else {
      throw RegateError(
        .malformed, subject: "weight_block_size",
        "is [\(blockRows), \(blockColumns)], expected two positive numbers")
    }
    self.rows = rows
    self.columns = columns
    self.blockRows = blockRows
    self.blockColumns = blockColumns
    self.scales = scales
    let (count, overflow) = gridRows.multipliedReportingOverflow(by: gridColumns)
    guard !overflow, count == scales.count else {
      throw RegateError(
        .mismatch,
        "\(scales.count) scales for a [\(rows), \(columns)] weight in blocks of "
          + "[\(blockRows), \(blockColumns)], expected [\(gridRows), \(gridColumns)]")
    }
  }

  /// Rows of the scale grid.
  package var gridRows: Int { Self.blocks(rows, blockRows) }
  /// Columns of the scale grid.
  package var gridColumns: Int { Self.blocks(columns, blockColumns) }

  private static func blocks(_ count: Int, _ size: Int) -> Int {
    count / size + (count % size > 0 ? 1 : 0)
  }

  /// The scale grid from its stored form: F32, BF16, F16 or F8_E8M0; U8 holds E8M0 exponents.
  package static func scales(
    _ bytes: RawSpan, type: ElementType, count: Int
  ) throws(RegateError) -> [Float] {
    switch type {
    case .f32, .bf16, .f16, .f8e8m0:
      return try TensorDecoder.decode(bytes, type: type, count: count)
    case .u8: return try TensorDecoder.decode(bytes, type: .f8e8m0, count: count)
    default:
      throw RegateError(
        .unsupported, "block scales are \(type.rawValue), expected F32, BF16, F16, F8_E8M0 or U8")
    }
  }

  /// The weights of `selection` (a range of rows), from exactly their bytes. `type` is an
  /// eight-bit type.
  package func decode(
    _ bytes: RawSpan, type: ElementType, rows selection: Range<Int>
  ) throws(RegateError) -> [Float] {
    try requireEightBits(type)
    return try Matrix(rows: selection.count, columns: columns) { (result) throws(RegateError) in
      try decode(bytes, type: type, rows: selection, into: result)
    }.values
  }

  /// The same, into a panel without gaps between its rows.
  package func decode(
    _ bytes: RawSpan, type: ElementType, rows selection: Range<Int>, into panel: MatrixView
  ) throws(RegateError) {
    precondition(panel.rows == selection.count && panel.columns == columns)
    precondition(selection.lowerBound >= 0 && selection.upperBound <= rows)
    try requireEightBits(type)
    precondition(bytes.byteCount == selection.count * columns, "bytes do not match the rows")
    var row = selection.lowerBound
    // Rows of blocks are scaled while they are in the cache.
    while row < selection.upperBound {
      let end = min((row / blockRows + 1) * blockRows, selection.upperBound)
      let part = row - selection.lowerBound..<end - selection.lowerBound
      try TensorDecoder.decode(
        bytes.extracting(part.lowerBound * columns..<part.upperBound * columns), type: type,
        into: panel[part])
      for block in 0..<gridColumns {
        let first = block * blockColumns
        panel[part, first..<min(first + blockColumns, columns)]
          .multiply(by: scales[row / blockRows * gridColumns + block])
      }
      row = end
    }
  }

  private func requireEightBits(_ type: ElementType) throws(RegateError) {
    guard type.blockElements == 1, type.blockBits == 8 else {
      throw RegateError(
        .unsupported, "block-scaled weights are \(type.rawValue), expected an eight-bit type")
    }
  }

  /// All weights.
  package func decode(_ bytes: RawSpan, type: ElementType) throws(RegateError) -> [Float] {
    try decode(bytes, type: type, rows: 0..<rows)
  }
}
