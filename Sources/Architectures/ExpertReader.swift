// SPDX-License-Identifier: Apache-2.0
//
// Decodes one expert's matrices to Float:
//   plain        F32, F16, BF16, FP8 and every GGUF block type, per expert or as a slice
//   block FP8    w[r,c] = fp8(weight[r,c]) * weight_scale_inv[r / rows, c / columns]
//   GGUF .scale  the whole matrix times scale[e] (NVFP4's second level)
// Fused gate and up are split by rows; [in,out] storage is transposed.

package import ByteStorage
package import Checkpoints
import Tensors

/// Loads single experts from a checkpoint.
package struct ExpertReader: Sendable {
  private let checkpoint: any Checkpoint
  private let block: ModelLayout.ScaleBlock?
  private let activation: GatedActivation
  /// Where decoded experts are noted, in whatever thread.
  private let log = WorkLog.current

  /// Throws where the experts are stored in a form that cannot be decoded.
  package init(_ checkpoint: any Checkpoint, layout: ModelLayout) throws(RegateError) {
    guard layout.undecodable == nil, let activation = layout.family.activation.gated else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "experts",
        "cannot decode: \(layout.undecodable ?? layout.family.activation.rawValue)",
        advice: "use the unquantised, FP8 or GGUF form of the model")
    }
    self.checkpoint = checkpoint
    self.activation = activation
    block = layout.scaleBlock
  }

  /// The matrices of expert `expert` of `layer`.
  package func weights(of expert: Int, in layer: MoELayer) throws(RegateError) -> ExpertWeights {
    log?.note(.expertDecoding(layer: layer.index, expert: expert))
    let panels = try panels(of: expert, in: layer)
    return ExpertWeights(
      gate: panels.gate.matrix, up: panels.up.matrix, down: panels.down.matrix,
      activation: activation)
  }

  private func panels(
    of expert: Int, in layer: MoELayer
  ) throws(RegateError) -> (gate: MatrixView, up: MatrixView, down: MatrixView) {
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    let down = try panel(.down, of: expert, in: layer, rows: hidden, columns: width)
    let both = try panelIfPresent(
      .gateUp, of: expert, in: layer, rows: 2 * width, columns: hidden)
    if let both { return (both[0..<width], both[width..<2 * width], down) }
    return (
      try panel(.gate, of: expert, in: layer, rows: width, columns: hidden),
      try panel(.up, of: expert, in: layer, rows: width, columns: hidden), down
    )
  }

  /// The same matrices, ready for products.
  package func packed(of expert: Int, in layer: MoELayer) throws(RegateError) -> PackedExpert {
    log?.note(.expertDecoding(layer: layer.index, expert: expert))
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    func packed(
      _ role: ExpertPart.Role, _ rows: Range<Int>, of all: Int, columns: Int
    ) throws(RegateError) -> PackedMatrix {
      try self.packed(role, of: expert, in: layer, rows: rows, of: all, columns: columns)
    }
    let isJoined = layer.experts.contains { $0.role == .gateUp && $0.kind == .weight }
    return PackedExpert(
      gate: isJoined
        ? try packed(.gateUp, 0..<width, of: 2 * width, columns: hidden)
        : try packed(.gate, 0..<width, of: width, columns: hidden),
      up: isJoined
        ? try packed(.gateUp, width..<2 * width, of: 2 * width, columns: hidden)
        : try packed(.up, 0..<width, of: width, columns: hidden),
      down: try packed(.down, 0..<hidden, of: hidden, columns: width), activation: activation)
  }

  /// Floats that are decoded before they are packed, so that they stay in a cache: 512 KB.
  private static let blockFloats = 1 << 17

  /// Rows `selection` of a matrix of `rows` rows.
  private func packed(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows selection: Range<Int>,
    of rows: Int, columns: Int
  ) throws(RegateError) -> PackedMatrix {
    let parts = layer.experts.filter { $0.role == role }
    guard let weight = parts.first(where: { $0.kind == .weight }), !weight.transposed else {
      // [in,out] storage must be whole to be turned.
      let panel = try panel(role, of: expert, in: layer, rows: rows, columns: columns)
      return PackedMatrix(packing: panel[selection])
    }
    let stored = try StoredExpert(
      self, weight, expert: expert, rows: rows, columns: columns,
      scale: parts.first { $0.kind == .scale && $0.suffix != "input_scale" })
    let result = PackedMatrix(
      rows: selection.count, columns: columns, precision: stored.precision)
    let unit = PackedMatrix.rowUnit
    let block = max(Self.blockFloats / max(columns, 1) / unit, 1) * unit
    for start in stride(from: 0, to: selection.count, by: block) {
      let part = start..<min(start + block, selection.count)
      let first = selection.lowerBound + start
      try result.write(part) { (panel) throws(RegateError) in
        try stored.decode(first..<first + part.count, into: panel)
      }
    }
    return result
  }

  private func panel(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> MatrixView {
    let panel = try panelIfPresent(role, of: expert, in: layer, rows: rows, columns: columns)
    guard let panel else {
      throw RegateError(
        .missing, file: checkpoint.path, subject: "layer \(layer.index)",
        "the experts have no \(role.rawValue) matrix")
    }
    return panel
  }

  private func panelIfPresent(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> MatrixView? {
    let parts = layer.experts.filter { $0.role == role }
    guard let weight = parts.first(where: { $0.kind == .weight }) else { return nil }
    // [in,out] storage is decoded as it lies, scales included, and then turned.
    let stored =
      weight.transposed
      ? MatrixView(rows: columns, columns: rows) : MatrixView(rows: rows, columns: columns)
    try StoredExpert(
      self, weight, expert: expert, rows: stored.rows, columns: stored.columns,
      scale: parts.first { $0.kind == .scale && $0.suffix != "input_scale" }
    ).decode(0..<stored.rows, into: stored)
    guard weight.transposed else { return stored }
    let turned = MatrixView(rows: rows, columns: columns)
    turned.copyTransposed(stored)
    return turned
  }

  /// One matrix of one expert, as it lies in its file.
  private struct StoredExpert {
    let checkpoint: any Checkpoint
    let tensor: TensorInfo
    let bytes: Range<Int>
    let rows: Int
    let blocks: BlockScaledDecoder?
    let factor: Float
    let precision: ProductPrecision

    init(
      _ reader: ExpertReader, _ weight: ExpertPart, expert: Int, rows: Int, columns: Int,
      scale: ExpertPart?
    ) throws(RegateError) {
      checkpoint = reader.checkpoint
      (tensor, bytes) = weight.slice(expert: expert)
      self.rows = rows
      precision = ProductPrecision(of: tensor.type, scaled: scale != nil)
      let scales = try scale.map { scale throws(RegateError) in
        try reader.values(of: scale, expert: expert)
      }
      guard let scale, let scales, reader.block == nil else {
        factor = 1
        blocks =
          if let scale, let scales {
            try reader.decoder(scale, scales, expert: expert, rows: rows, columns: columns)
          } else {
            nil
          }
        return
      }
      guard scales.count == 1 else {
        throw reader.wrongScale(scale.slice(expert: expert).tensor, [1])
      }
      (factor, blocks) = (scales[0], nil)
    }

    /// Decodes rows `selection`; rows are whole blocks of their type.
    func decode(_ selection: Range<Int>, into target: MatrixView) throws(RegateError) {
      guard !selection.isEmpty else { return }
      let rowBytes = bytes.count / rows
      let first = bytes.lowerBound + selection.lowerBound * rowBytes
      let part = first..<first + selection.count * rowBytes
      try checkpoint.naming(tensor) { () throws(RegateError) in
        try checkpoint.withBytes(of: tensor, part: part) { bytes throws(RegateError) in
          if let blocks {
            try blocks.decode(bytes, type: tensor.type, rows: selection, into: target)
          } else {
            try TensorDecoder.decode(bytes, type: tensor.type, into: target)
            if factor != 1 { target.multiply(by: factor) }
          }
        }
      }
    }
  }

  private func values(of scale: ExpertPart, expert: Int) throws(RegateError) -> [Float] {
    let (tensor, bytes) = scale.slice(expert: expert)
    let count = scale.shape(expert: expert).reduce(1, *)
    return try checkpoint.naming(tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: tensor, part: bytes) { bytes throws(RegateError) in
        try BlockScaledDecoder.scales(bytes, type: tensor.type, count: count)
      }
    }
  }

  private func decoder(
    _ scale: ExpertPart, _ scales: [Float], expert: Int, rows: Int, columns: Int
  ) throws(RegateError) -> BlockScaledDecoder? {
    guard let block else { return nil }
    let tensor = scale.slice(expert: expert).tensor
    let decoder = try checkpoint.naming(tensor) { () throws(RegateError) in
      try BlockScaledDecoder(
        rows: rows, columns: columns, blockRows: block.rows, blockColumns: block.columns,
        scales: scales)
    }
    let grid = [decoder.gridRows, decoder.gridColumns]
    guard scale.shape(expert: expert) == grid else { throw wrongScale(tensor, grid) }
    return decoder
  }

  private func wrongScale(_ tensor: TensorInfo, _ expected: [Int]) -> RegateError {
    RegateError(
      .mismatch, file: checkpoint.path, subject: tensor.name,
      "has shape \(tensor.shape), expected \(expected) for each expert")
  }
}
