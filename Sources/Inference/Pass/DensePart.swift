// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import Tensors

/// A feed-forward network that every token passes: a dense layer's, or an MoE layer's shared
/// experts. Its inner dimension may be taken in parts, whose outputs add up.
struct DensePart {
  private let gate: StoredMatrix
  private let up: StoredMatrix
  private let down: StoredMatrix
  /// Weighs the output by sigmoid(x · scale) (Qwen2-MoE) [1,H].
  private let scale: MatrixView?
  private let threads: Int

  /// Tokens per block.
  static let blockTokens = 512
  /// Parts begin at its multiples: whole blocks in which 8-bit products round.
  private static let partUnit = 32

  /// The network of a dense layer.
  init(dense model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    try self.init(model, layer: layer, .gate, .up, .down, scale: nil, threads: threads)
  }

  /// The shared experts of an MoE layer.
  init(shared model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    let scale =
      model.traits.sharedGate
      ? try model.weights.sharedScale(layer: layer, hiddenSize: model.hiddenSize) : nil
    try self.init(
      model, layer: layer, .sharedGate, .sharedUp, .sharedDown, scale: scale, threads: threads)
  }

  private init(
    _ model: InferenceModel, layer: Int, _ gate: WeightName, _ up: WeightName,
    _ down: WeightName, scale: MatrixView?, threads: Int
  ) throws(RegateError) {
    let (reader, hidden) = (model.weights, model.hiddenSize)
    let width = try reader.rows(of: gate, layer: layer)
    self.gate = try reader.stored(gate, layer: layer, rows: width, columns: hidden)
    self.up = try reader.stored(up, layer: layer, rows: width, columns: hidden)
    self.down = try reader.stored(down, layer: layer, rows: hidden, columns: width)
    self.scale = scale
    self.threads = threads
  }

  /// Ranges of the inner dimension whose weights take at most `limit` bytes, as far as a unit does.
  func parts(limit: Int) -> [Range<Int>] {
    let width = gate.rows
    let bytes = Self.bytes(hidden: gate.columns, width: width, precision: gate.precision)
    guard bytes > limit else { return [0..<width] }
    let units = width * limit / bytes / Self.partUnit
    let size = max(1, units) * Self.partUnit
    return stride(from: 0, to: width, by: size).map { $0..<min($0 + size, width) }
  }

  /// Bytes of a network's weights, as they are multiplied.
  static func bytes(hidden: Int, width: Int, precision: ProductPrecision) -> Int {
    2 * PackedMatrix.bytes(rows: width, columns: hidden, precision: precision)
      + PackedMatrix.bytes(rows: hidden, columns: width, precision: precision)
  }

  /// The weights of a part, ready for products.
  func weights(_ part: Range<Int>) throws(RegateError) -> Weights {
    Weights(
      gate: try gate.packed(rows: part, threads: threads),
      up: try up.packed(rows: part, threads: threads),
      down: try down.packed(columns: part, threads: threads), scale: scale)
  }

  /// A part of the network: gate and up [n,H], down [H,n].
  struct Weights: Sendable {
    fileprivate let gate: PackedMatrix
    fileprivate let up: PackedMatrix
    fileprivate let down: PackedMatrix
    fileprivate let scale: MatrixView?

    /// Adds the part's output for the rows of `inputs` to `result`.
    func apply(_ inputs: MatrixView, addingTo result: MatrixView) {
      guard let scale else {
        result.feedForward(inputs, gate: gate, up: up, down: down, adding: true)
        return
      }
      let output = MatrixView(rows: inputs.rows, columns: inputs.columns)
      output.feedForward(inputs, gate: gate, up: up, down: down)
      let logits = MatrixView(rows: inputs.rows, columns: 1)
      logits.multiply(inputs, transposed: scale)
      for row in 0..<inputs.rows {
        result.add(output, row: row, times: 1 / (1 + exp(-logits[row, 0])), to: row)
      }
    }
  }
}
