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
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    let down = try matrix(.down, of: expert, in: layer, rows: hidden, columns: width)
    if let both = try matrixIfPresent(
      .gateUp, of: expert, in: layer, rows: 2 * width, columns: hidden)
    {
      let half = width * hidden
      return ExpertWeights(
        gate: Matrix(rows: width, columns: hidden, values: Array(both.values[..<half])),
        up: Matrix(rows: width, columns: hidden, values: Array(both.values[half...])), down: down)
    }
    return ExpertWeights(
      gate: try matrix(.gate, of: expert, in: layer, rows: width, columns: hidden),
      up: try matrix(.up, of: expert, in: layer, rows: width, columns: hidden), down: down)
  }

  private func matrix(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> Matrix {
    guard
      let matrix = try matrixIfPresent(role, of: expert, in: layer, rows: rows, columns: columns)
    else {
      throw RegateError(
        .missing, file: checkpoint.path, subject: "layer \(layer.index)",
        "the experts have no \(role.rawValue) matrix")
    }
    return matrix
  }

  private func matrixIfPresent(
    _ role: ExpertPart.Role, of expert: Int, in layer: MoELayer, rows: Int, columns: Int
  ) throws(RegateError) -> Matrix? {
    let parts = layer.experts.filter { $0.role == role }
    guard let weight = parts.first(where: { $0.kind == .weight }) else { return nil }
    // [in,out] storage is decoded as it lies, scales included, and then turned.
    let stored = weight.transposed ? (rows: columns, columns: rows) : (rows: rows, columns: columns)
    let values = try values(
      of: weight, expert: expert, rows: stored.rows, columns: stored.columns,
      scale: parts.first { $0.kind == .scale && $0.suffix != "input_scale" })
    let matrix = Matrix(rows: stored.rows, columns: stored.columns, values: values)
    return weight.transposed ? matrix.swappingAxes : matrix
  }

  private func values(
    of weight: ExpertPart, expert: Int, rows: Int, columns: Int, scale: ExpertPart?
  ) throws(RegateError) -> [Float] {
    let (tensor, bytes) = weight.slice(expert: expert)
    guard let scale else {
      return try checkpoint.floats(of: tensor, part: bytes, count: rows * columns)
    }
    let (scaleTensor, scaleBytes) = scale.slice(expert: expert)
    let shape = scale.shape(expert: expert)
    let scales = try checkpoint.naming(scaleTensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: scaleTensor, part: scaleBytes) { bytes throws(RegateError) in
        try BlockScaledDecoder.scales(
          bytes, type: scaleTensor.type, count: shape.reduce(1, *))
      }
    }
    guard let block else {
      guard scales.count == 1 else { throw wrongScale(scaleTensor, [1]) }
      return try checkpoint.floats(of: tensor, part: bytes, count: rows * columns)
        .map { $0 * scales[0] }
    }
    let decoder = try checkpoint.naming(scaleTensor) { () throws(RegateError) in
      try BlockScaledDecoder(
        rows: rows, columns: columns, blockRows: block.rows, blockColumns: block.columns,
        scales: scales)
    }
    let grid = [decoder.gridRows, decoder.gridColumns]
    guard shape == grid else { throw wrongScale(scaleTensor, grid) }
    return try checkpoint.naming(tensor) { () throws(RegateError) in
      try checkpoint.withBytes(of: tensor, part: bytes) { bytes throws(RegateError) in
        try decoder.decode(bytes, type: tensor.type)
      }
    }
  }

  private func wrongScale(_ tensor: TensorInfo, _ expected: [Int]) -> RegateError {
    RegateError(
      .mismatch, file: checkpoint.path, subject: tensor.name,
      "has shape \(tensor.shape), expected \(expected) for each expert")
  }
}

extension Matrix {
  fileprivate var swappingAxes: Matrix {
    var result = Matrix(rows: columns, columns: rows)
    for row in 0..<rows {
      for column in 0..<columns {
        result.values[column * rows + row] = values[row * columns + column]
      }
    }
    return result
  }
}
