// SPDX-License-Identifier: Apache-2.0
//
// Weights with scales of their own, one for each block of a matrix:
//
//   weight  [rows, columns], of any type whose blocks do not cross rows
//   scales  [ceil(rows / blockRows), ceil(columns / blockColumns)]
//   offsets as many, or none
//   w[r, c] = (weight[r, c] - offsets[r / blockRows, c / blockColumns])
//             * scales[r / blockRows, c / blockColumns]
//
// The blocks at the right and bottom edges may be partial, so block sizes cannot be had by dividing
// the shapes. One float32 product per element, as in transformers 5.

package import ByteStorage

package struct BlockScaledDecoder: Sendable {
  package let rows: Int
  package let columns: Int
  package let blockRows: Int
  package let blockColumns: Int
  private let scales: [Float]
  private let offsets: [Float]?

  /// `scales` and `offsets` hold the grid row by row. A scale per row is a block of [1, columns], a
  /// scale per tensor a block of [rows, columns].
  package init(
    rows: Int, columns: Int, blockRows: Int, blockColumns: Int, scales: [Float],
    offsets: [Float]? = nil
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
    self.offsets = offsets
    let (count, overflow) = gridRows.multipliedReportingOverflow(by: gridColumns)
    guard !overflow, count == scales.count, count == offsets?.count ?? count else {
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

  /// Blocks of `size` that `count` elements take, the last of them maybe partial.
  package static func blocks(_ count: Int, _ size: Int) -> Int {
    count / size + (count % size > 0 ? 1 : 0)
  }

  /// The scale grid from its stored form: a type of real numbers; U8 holds E8M0 exponents.
  package static func scales(
    _ bytes: RawSpan, type: ElementType, count: Int
  ) throws(RegateError) -> [Float] {
    switch type {
    case .f64, .f32, .bf16, .f16, .f8e8m0, .f8e4m3:
      return try TensorDecoder.decode(bytes, type: type, count: count)
    case .u8: return try TensorDecoder.decode(bytes, type: .f8e8m0, count: count)
    default:
      throw RegateError(
        .unsupported, "scales are \(type.rawValue), expected real numbers or U8 exponents")
    }
  }

  /// The weights of `selection` (a range of rows), from exactly their bytes.
  package func decode(
    _ bytes: RawSpan, type: ElementType, rows selection: Range<Int>
  ) throws(RegateError) -> [Float] {
    try Matrix(rows: selection.count, columns: columns) { (result) throws(RegateError) in
      try decode(bytes, type: type, rows: selection, into: result)
    }.values
  }

  /// The same, into a panel without gaps between its rows.
  package func decode(
    _ bytes: RawSpan, type: ElementType, rows selection: Range<Int>, into panel: MatrixView
  ) throws(RegateError) {
    precondition(panel.rows == selection.count && panel.columns == columns)
    precondition(selection.lowerBound >= 0 && selection.upperBound <= rows)
    guard let rowBytes = type.byteCount(of: columns) else {
      throw RegateError(
        .unsupported, "rows of \(columns) elements are no whole \(type.rawValue) blocks")
    }
    precondition(bytes.byteCount == selection.count * rowBytes, "bytes do not match the rows")
    var row = selection.lowerBound
    // Rows of blocks are scaled while they are in the cache.
    while row < selection.upperBound {
      let end = min((row / blockRows + 1) * blockRows, selection.upperBound)
      let part = row - selection.lowerBound..<end - selection.lowerBound
      try TensorDecoder.decode(
        bytes.extracting(part.lowerBound * rowBytes..<part.upperBound * rowBytes), type: type,
        into: panel[part])
      scale(panel[part], gridRow: row / blockRows)
      row = end
    }
  }

  private func scale(_ panel: MatrixView, gridRow: Int) {
    for block in 0..<gridColumns {
      let first = block * blockColumns
      let values = panel.columns(first..<min(first + blockColumns, columns))
      let place = gridRow * gridColumns + block
      if let offsets, offsets[place] != 0 {
        values.add(toEachRow: [Float](repeating: -offsets[place], count: values.columns))
      }
      if scales[place] != 1 { values.multiply(by: scales[place]) }
    }
  }

  /// All weights.
  package func decode(_ bytes: RawSpan, type: ElementType) throws(RegateError) -> [Float] {
    try decode(bytes, type: type, rows: 0..<rows)
  }
}
