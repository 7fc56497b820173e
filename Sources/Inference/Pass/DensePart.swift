// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import Tensors

/// A feed-forward network that every token passes: a dense layer's, or an MoE layer's shared
/// experts.
struct DensePart {
  private let gate: PackedMatrix
  private let up: PackedMatrix
  private let down: PackedMatrix
  /// Weighs the output by sigmoid(x · scale) (Qwen2-MoE) [1,H].
  private let scale: Panel?

  /// Tokens per block.
  static let blockTokens = 512

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
    _ down: WeightName, scale: Panel?, threads: Int
  ) throws(RegateError) {
    let (reader, hidden) = (model.weights, model.hiddenSize)
    let width = try reader.rows(of: gate, layer: layer)
    self.gate = try reader.matrix(
      gate, layer: layer, rows: width, columns: hidden, threads: threads)
    self.up = try reader.matrix(up, layer: layer, rows: width, columns: hidden, threads: threads)
    self.down = try reader.matrix(
      down, layer: layer, rows: hidden, columns: width, threads: threads)
    self.scale = scale
  }

  /// Adds the network's output for the rows of `inputs` to `result`.
  func apply(_ inputs: Panel, addingTo result: Panel) {
    guard let scale else {
      result.feedForward(inputs, gate: gate, up: up, down: down, adding: true)
      return
    }
    let output = Panel(rows: inputs.rows, columns: inputs.columns)
    output.feedForward(inputs, gate: gate, up: up, down: down)
    let logits = Panel(rows: inputs.rows, columns: 1)
    logits.multiply(inputs, transposed: scale)
    for row in 0..<inputs.rows {
      result.add(output, row: row, times: 1 / (1 + exp(-logits[row, 0])), to: row)
    }
  }
}
