// SPDX-License-Identifier: Apache-2.0
//
// Decodes one expert's matrices to Float:
//   plain        F32, F16, BF16, FP8 and every GGUF block type, per expert or as a slice
//   block FP8    w[r,c] = fp8(weight[r,c]) * weight_scale_inv[r / rows, c / columns]
//   GGUF .scale  the whole matrix times scale[e] (NVFP4's second level)
// Fused gate and up are split by rows; [in,out] storage is transposed.

public import ByteStorage
public import Checkpoints
import Tensors

/// Loads single experts from a checkpoint.
public struct ExpertReader: Sendable {
  private let checkpoint: any Checkpoint
  private let block: ModelLayout.ScaleBlock?

  /// Throws where the experts are stored in a form that cannot be decoded.
  public init(_ checkpoint: any Checkpoint, layout: ModelLayout) throws(RegateError) {
    if let reason = layout.undecodable {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: "experts", "cannot decode: \(reason)",
        advice: "use the unquantised, FP8 or GGUF form of the model")
    }
    self.checkpoint = checkpoint
    block = layout.scaleBlock
  }

  /// The matrices of expert `expert` of `layer`.
  public func weights(of expert: Int, in layer: MoELayer) throws(RegateError) -> ExpertWeights {
    let panels = try panels(of: expert, in: layer)
    return ExpertWeights(
      gate: panels.gate.matrix, up: panels.up.matrix, down: panels.down.matrix)
  }

  /// The same as panels, whose memory is used again when they are dropped.
  package func panels(of expert: Int, in layer: MoELayer) throws(RegateError) -> ExpertPanels {
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    let down = try panel(.down, of: expert, in: layer, rows: hidden, columns: width)
    let both = try panelIfPresent(
      .gateUp, of: expert, in: layer, rows: 2 * width, columns: hidden)
    if let both {
      return ExpertPanels(gate: both[0..<width], up: both[width..<2 * width], down: down)
    }
    return ExpertPanels(
      gate: try panel(.gate, of: expert, in: layer, rows: width, columns: hidden),
      up: try panel(.up, of: expert, in: layer, rows: width, columns: hidden), down: down)
  }

  private func panel(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> Panel {
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
  ) throws(RegateError) -> Panel? {
    let parts = layer.experts.filter { $0.role == role }
    guard let weight = parts.first(where: { $0.kind == .weight }) else { return nil }
    // [in,out] storage is decoded as it lies, scales included, and then turned.
    let stored =
      weight.transposed
      ? Panel(rows: columns, columns: rows) : Panel(rows: rows, columns: columns)
    try decode(
      weight, expert: expert, into: stored,
      scale: parts.first { $0.kind == .scale && $0.suffix != "input_scale" })
    guard weight.transposed else { return stored }
    let turned = Panel(rows: rows, columns: columns)
    turned.copyTransposed(stored)
    return turned
  }

  private func decode(
    _ weight: ExpertPart, expert: Int, into target: Panel, scale: ExpertPart?
  ) throws(RegateError) {
    let (tensor, bytes) = weight.slice(expert: expert)
    var blocks: BlockScaledDecoder?
    var factor: Float = 1
    if let scale {
      let scales = try values(of: scale, expert: expert)
      if block != nil {
        blocks = try decoder(
          scale, scales, expert: expert, rows: target.rows, columns: target.columns)
      } else {
        guard scales.count == 1 else { throw wrongScale(scale.slice(expert: expert).tensor, [1]) }
        factor = scales[0]
      }
    }
    try checkpoint.naming(tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: tensor, part: bytes) { bytes throws(RegateError) in
        if let blocks {
          try blocks.decode(bytes, type: tensor.type, rows: 0..<target.rows, into: target)
        } else {
          try target.withContiguous { result throws(RegateError) in
            try TensorDecoder.decode(bytes, type: tensor.type, into: result)
          }
          if factor != 1 { target.multiply(by: factor) }
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
