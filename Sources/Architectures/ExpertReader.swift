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
    if let both = try matrixIfPresent(.gateUp, of: expert, in: layer, rows: 2 * width, columns: hidden)
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
    let (tensor, bytes) = weight.slice(expert: expert)
    let values = try checkpoint.floats(of: tensor, part: bytes, count: rows * columns)
    var stored =
      weight.transposed
      ? Matrix(rows: columns, columns: rows, values: values)
      : Matrix(rows: rows, columns: columns, values: values)
    if let scale = parts.first(where: { $0.kind == .scale && $0.suffix != "input_scale" }) {
      try apply(scale, of: expert, to: &stored)
    }
    return weight.transposed ? stored.swappingAxes : stored
  }

  private func apply(
    _ part: ExpertPart, of expert: Int, to matrix: inout Matrix
  ) throws(RegateError) {
    let (tensor, bytes) = part.slice(expert: expert)
    let shape = part.shape(expert: expert)
    let count = shape.reduce(1, *)
    // Scales of later models are bare exponents, 2^(x - 127), in U8 or F8_E8M0.
    let type = tensor.type == .u8 ? ElementType.f8e8m0 : tensor.type
    let scales = try checkpoint.floats(of: tensor, part: bytes, count: count, type: type)
    guard let block else {
      guard count == 1 else { throw wrongScale(tensor, [1]) }
      for index in matrix.values.indices { matrix.values[index] *= scales[0] }
      return
    }
    let grid = [block.rows, block.columns]
    let expected = zip([matrix.rows, matrix.columns], grid).map { ($0 + $1 - 1) / $1 }
    guard shape == expected else { throw wrongScale(tensor, expected) }
    matrix.scaleBlocks(scales, rows: block.rows, columns: block.columns)
  }

  private func wrongScale(_ tensor: TensorInfo, _ expected: [Int]) -> RegateError {
    RegateError(
      .mismatch, file: checkpoint.path, subject: tensor.name,
      "has shape \(tensor.shape), expected \(expected) for each expert")
  }
}

extension Matrix {
  /// Multiplies each `rows` x `columns` block by its scale; blocks at the edges are partial.
  fileprivate mutating func scaleBlocks(_ scales: [Float], rows blockRows: Int, columns: Int) {
    let (rowCount, width) = (rows, self.columns)
    let perRow = (width + columns - 1) / columns
    values.withUnsafeMutableBufferPointer { values in
      for row in 0..<rowCount {
        for block in 0..<perRow {
          let scale = scales[row / blockRows * perRow + block]
          let end = min((block + 1) * columns, width)
          for column in block * columns..<end { values[row * width + column] *= scale }
        }
      }
    }
  }

  fileprivate var swappingAxes: Matrix {
    var result = Matrix(rows: columns, columns: rows)
    for row in 0..<rows {
      for column in 0..<columns { result.values[column * rows + row] = values[row * columns + column] }
    }
    return result
  }
}
