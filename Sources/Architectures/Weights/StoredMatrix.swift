// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import Tensors

/// A weight as a matrix [rows, columns], as it lies in its file, decoded by rows.
package struct StoredMatrix: Sendable {
  private let checkpoint: any Checkpoint
  private let source: TensorSlice
  private let type: ElementType
  package let rows: Int
  package let columns: Int
  package let precision: ProductPrecision
  /// nil: values are what is stored.
  private let blocks: BlockScaledDecoder?

  /// Elements per task when a whole matrix is decoded, so that they stay in a cache: 512 KB.
  private static let taskElements = 1 << 17

  /// `weight` has `rows * columns` elements, or is refused.
  package init(
    _ weight: StoredWeight, rows: Int, columns: Int, in checkpoint: any Checkpoint,
    as precision: Precision
  ) throws(RegateError) {
    self.checkpoint = checkpoint
    self.rows = rows
    self.columns = columns
    source = weight.weight
    type = weight.elementType
    self.precision = weight.products(precision)
    let file = checkpoint.files[source.tensor.file].path
    blocks = try weight.decoder(rows: rows, columns: columns, in: checkpoint)
    guard let rowBytes = type.byteCount(of: columns) else {
      throw RegateError(
        .malformed, file: file, subject: source.tensor.name,
        "has rows of \(columns) elements, which are no whole \(type.rawValue) blocks")
    }
    let (bytes, overflow) = rowBytes.multipliedReportingOverflow(by: rows)
    guard !overflow, bytes == source.bytes.count else {
      throw RegateError(
        .mismatch, file: file, subject: source.tensor.name,
        "is \(source.tensor.type.rawValue) \(source.shape), expected \([rows, columns])")
    }
  }

  /// Decodes `selection` of the rows into `target`, which has that many.
  private func decode(_ selection: Range<Int>, into target: MatrixView) throws(RegateError) {
    try withBytes(of: selection) { bytes throws(RegateError) in
      if let blocks {
        try blocks.decode(bytes, type: type, rows: selection, into: target)
      } else {
        try TensorDecoder.decode(bytes, type: type, into: target)
      }
    }
  }

  /// Hands the bytes of `selection` of the rows to `body`, unless there are none.
  private func withBytes(
    of selection: Range<Int>, _ body: (RawSpan) throws(RegateError) -> Void
  ) throws(RegateError) {
    guard !selection.isEmpty, columns > 0 else { return }
    let rowBytes = source.bytes.count / rows
    let first = source.bytes.lowerBound + selection.lowerBound * rowBytes
    let part = first..<first + selection.count * rowBytes
    try checkpoint.naming(source.tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: source.tensor, part: part, body)
    }
  }

  /// The rows of `selection`, ready for products; threads share out blocks of them.
  package func packed(rows selection: Range<Int>, threads: Int) throws(RegateError) -> PackedMatrix
  {
    try packed(rows: selection, columns: 0..<columns, threads: threads)
  }

  /// All rows' values in `selection`. Whole rows are decoded for it.
  package func packed(columns selection: Range<Int>, threads: Int) throws(RegateError)
    -> PackedMatrix
  {
    try packed(rows: 0..<rows, columns: selection, threads: threads)
  }

  private func packed(
    rows: Range<Int>, columns window: Range<Int>, threads: Int
  ) throws(RegateError) -> PackedMatrix {
    let result = PackedMatrix(rows: rows.count, columns: window.count, precision: precision)
    let isRaw = type == .bf16 && window.count == columns && result.takesBFloats
    try forEachTask(rows, threads: threads) { (part, stored) throws(RegateError) in
      guard !isRaw else {
        return try withBytes(of: stored) { bytes in result.write(part, bfloats: bytes) }
      }
      try result.write(part) { (panel) throws(RegateError) in
        guard window.count < columns else { return try decode(stored, into: panel) }
        let whole = MatrixView(rows: stored.count, columns: columns)
        try decode(stored, into: whole)
        panel.copy(whole.columns(window))
      }
    }
    return result
  }

  /// All rows, ready for products.
  package func packed(threads: Int) throws(RegateError) -> PackedMatrix {
    try packed(rows: 0..<rows, threads: threads)
  }

  /// The rows of these numbers, in their order, ready for products.
  package func packed(rows indices: [Int32], threads: Int) throws(RegateError) -> PackedMatrix {
    let result = PackedMatrix(rows: indices.count, columns: columns, precision: precision)
    try forEachTask(0..<indices.count, threads: threads) { (part, _) throws(RegateError) in
      try result.write(part) { (panel) throws(RegateError) in
        try gather(indices[part], into: panel)
      }
    }
    return result
  }

  /// All rows, decoded; threads share out blocks of them.
  package func panel(threads: Int) throws(RegateError) -> MatrixView {
    let result = MatrixView(rows: rows, columns: columns)
    try forEachTask(0..<rows, threads: threads) { (part, stored) throws(RegateError) in
      try decode(stored, into: result[part])
    }
    return result
  }

  /// Runs `body` on blocks of `selection`: as numbered in it, and as stored.
  private func forEachTask(
    _ selection: Range<Int>, threads: Int,
    _ body: @Sendable (_ part: Range<Int>, _ stored: Range<Int>) throws(RegateError) -> Void
  ) throws(RegateError) {
    let unit = PackedMatrix.rowUnit
    let blockRows = max(1, Self.taskElements / max(columns, 1) / unit) * unit
    let outcomes = mapBlocks(
      count: selection.count, blockSize: blockRows, threads: threads
    ) { _, part -> Result<Void, RegateError> in
      let first = selection.lowerBound + part.lowerBound
      return Result { () throws(RegateError) in try body(part, first..<first + part.count) }
    }
    for outcome in outcomes { try outcome.get() }
  }

  /// Decodes row `indices[i]` into row i of `target`.
  package func gather(_ indices: ArraySlice<Int32>, into target: MatrixView) throws(RegateError) {
    for (row, index) in indices.enumerated() {
      try decode(Int(index)..<Int(index) + 1, into: target[row..<row + 1])
    }
  }
}

extension StoredWeight {
  /// The weight as a matrix of that shape, to be multiplied in `precision`.
  package func matrix(
    rows: Int, columns: Int, in checkpoint: any Checkpoint, as precision: Precision = .f32
  ) throws(RegateError) -> StoredMatrix {
    try StoredMatrix(self, rows: rows, columns: columns, in: checkpoint, as: precision)
  }
}
