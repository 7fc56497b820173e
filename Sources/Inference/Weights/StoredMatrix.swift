// SPDX-License-Identifier: Apache-2.0
//
// One weight matrix [rows, columns] as it lies in its file, decoded by rows:
//   plain        F32, F16, BF16 and every GGUF block type
//   block FP8    w[r,c] = fp8(weight[r,c]) * weight_scale_inv[r / block, c / block]
//   GGUF .scale  all values times one number

import Architectures
import ByteStorage
import Checkpoints
import Tensors

struct StoredMatrix: Sendable {
  let checkpoint: any Checkpoint
  let tensor: TensorInfo
  let rows: Int
  let columns: Int
  private let blocks: BlockScaledDecoder?
  private let factor: Float?

  /// Elements per task when a whole matrix is decoded.
  private static let taskElements = 1 << 17

  /// `tensor` has `rows * columns` elements; `scale` is its companion, if it has one.
  init(
    _ tensor: TensorInfo, rows: Int, columns: Int, scale: TensorInfo?, layout: ModelLayout,
    in checkpoint: any Checkpoint
  ) throws(RegateError) {
    self.checkpoint = checkpoint
    self.tensor = tensor
    self.rows = rows
    self.columns = columns
    guard TensorDecoder.supports(tensor.type) else {
      throw RegateError(
        .unsupported, file: checkpoint.files[tensor.file].path, subject: tensor.name,
        "is \(tensor.type.rawValue), which cannot be decoded")
    }
    guard columns % tensor.type.blockElements == 0 else {
      throw RegateError(
        .malformed, file: checkpoint.files[tensor.file].path, subject: tensor.name,
        "has rows of \(columns) elements, which are no whole \(tensor.type.rawValue) blocks")
    }
    guard let scale else {
      blocks = nil
      factor = nil
      return
    }
    let scales = try checkpoint.naming(scale) { () throws(RegateError) in
      try checkpoint.withBytes(of: scale) { bytes throws(RegateError) in
        try BlockScaledDecoder.scales(bytes, type: scale.type, count: scale.elementCount)
      }
    }
    if let block = layout.scaleBlock {
      blocks = try checkpoint.naming(scale) { () throws(RegateError) in
        try BlockScaledDecoder(
          rows: rows, columns: columns, blockRows: block.rows, blockColumns: block.columns,
          scales: scales)
      }
      factor = nil
    } else {
      guard scales.count == 1 else {
        throw RegateError(
          .mismatch, file: checkpoint.files[scale.file].path, subject: scale.name,
          "has shape \(scale.shape), expected one value")
      }
      blocks = nil
      factor = scales[0]
    }
  }

  /// Decodes `selection` of the rows into `target`, which has that many.
  private func decode(_ selection: Range<Int>, into target: MatrixView) throws(RegateError) {
    guard !selection.isEmpty, columns > 0 else { return }
    let rowBytes = tensor.range.count / rows
    let part = selection.lowerBound * rowBytes..<selection.upperBound * rowBytes
    try checkpoint.naming(tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: tensor, part: part) { bytes throws(RegateError) in
        if let blocks {
          try blocks.decode(bytes, type: tensor.type, rows: selection, into: target)
        } else {
          try TensorDecoder.decode(bytes, type: tensor.type, into: target)
          if let factor { target.multiply(by: factor) }
        }
      }
    }
  }

  var precision: ProductPrecision {
    ProductPrecision(of: tensor.type, scaled: blocks != nil || factor != nil)
  }

  /// The rows of `selection`, ready for products; threads share out blocks of them.
  func packed(rows selection: Range<Int>, threads: Int) throws(RegateError) -> PackedMatrix {
    try packed(rows: selection, columns: 0..<columns, threads: threads)
  }

  /// All rows' values in `selection`. Whole rows are decoded for it.
  func packed(columns selection: Range<Int>, threads: Int) throws(RegateError) -> PackedMatrix {
    try packed(rows: 0..<rows, columns: selection, threads: threads)
  }

  private func packed(
    rows: Range<Int>, columns window: Range<Int>, threads: Int
  ) throws(RegateError) -> PackedMatrix {
    let result = PackedMatrix(rows: rows.count, columns: window.count, precision: precision)
    try forEachTask(rows, threads: threads) { (part, stored) throws(RegateError) in
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
  func packed(threads: Int) throws(RegateError) -> PackedMatrix {
    try packed(rows: 0..<rows, threads: threads)
  }

  /// All rows, decoded; threads share out blocks of them.
  func panel(threads: Int) throws(RegateError) -> MatrixView {
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
  func gather(_ indices: ArraySlice<Int32>, into target: MatrixView) throws(RegateError) {
    for (row, index) in indices.enumerated() {
      try decode(Int(index)..<Int(index) + 1, into: target[row..<row + 1])
    }
  }
}
