// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Tensors

/// A feed-forward network that every token passes: a dense layer's, or an MoE layer's shared
/// experts. Its inner dimension may be taken in parts, whose outputs add up.
struct GatedNetwork {
  private let gate: StoredMatrix
  private let up: StoredMatrix
  private let down: StoredMatrix
  /// The first row of `up` that is used: one matrix may hold the gate's rows and then up's.
  private let firstUp: Int
  private let activation: GatedActivation
  private let outputGate: OutputGate?
  /// Of what is added.
  private let factor: Float
  private let threads: Int

  /// Tokens per block.
  static let blockTokens = 512
  /// Parts begin at its multiples: whole blocks in which 8-bit products round.
  private static let partUnit = 32

  /// The three matrices' names; of one that is gate and up, twice.
  typealias Names = (gate: WeightName, up: WeightName, down: WeightName)

  /// The network of a dense layer.
  init(dense model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    try self.init(model, layer: layer, (.gate, .up, .down), outputGate: nil, threads: threads)
  }

  /// The shared experts of an MoE layer.
  init(shared model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    let outputGate =
      model.layout.family.gatesSharedExpert
      ? OutputGate(
        weight: try model.weights.sharedScale(layer: layer, hiddenSize: model.hiddenSize)) : nil
    try self.init(
      model, layer: layer, model.weights.sharedNames, outputGate: outputGate, threads: threads)
  }

  private init(
    _ model: InferenceModel, layer: Int, _ names: Names, outputGate: OutputGate?, threads: Int
  ) throws(RegateError) {
    let (reader, hidden) = (model.weights, model.hiddenSize)
    let rows = try reader.rows(of: names.gate, layer: layer)
    gate = try reader.stored(names.gate, layer: layer, rows: rows, columns: hidden)
    up = try reader.stored(names.up, layer: layer, rows: rows, columns: hidden)
    let width = names.gate == names.up ? rows / 2 : rows
    firstUp = rows - width
    down = try reader.stored(names.down, layer: layer, rows: hidden, columns: width)
    activation = model.activation
    self.outputGate = outputGate
    factor = model.multipliers.residual
    self.threads = threads
  }

  /// Adds the network's output for each of `inputs` [T,H] to the `outputs` of the same number. At
  /// most `limit` bytes of weights are decoded at once, as far as a unit of the width takes less.
  func run(
    _ inputs: [MatrixView], addingTo outputs: [MatrixView], limit: Int
  ) throws(RegateError) {
    for part in parts(limit: limit) {
      let weights = try weights(part)
      for (input, output) in zip(inputs, outputs) {
        forEachBlock(
          count: input.rows, blockSize: Self.blockTokens, threads: threads
        ) { _, rows in
          weights.apply(input[rows], addingTo: output[rows])
        }
      }
    }
  }

  /// Ranges of the inner dimension whose weights take at most `limit` bytes, as far as a unit does.
  private func parts(limit: Int) -> [Range<Int>] {
    let width = down.columns
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
  private func weights(_ part: Range<Int>) throws(RegateError) -> Weights {
    Weights(
      gate: try gate.packed(rows: part, threads: threads),
      up: try up.packed(
        rows: firstUp + part.lowerBound..<firstUp + part.upperBound, threads: threads),
      down: try down.packed(columns: part, threads: threads), activation: activation,
      outputGate: outputGate, factor: factor)
  }

  /// A part of the network: gate and up [n,H], down [H,n].
  private struct Weights: Sendable {
    let gate: PackedMatrix
    let up: PackedMatrix
    let down: PackedMatrix
    let activation: GatedActivation
    let outputGate: OutputGate?
    let factor: Float

    /// Adds the part's output for the rows of `inputs` to `result`.
    func apply(_ inputs: MatrixView, addingTo result: MatrixView) {
      guard outputGate != nil || factor != 1 else {
        result.feedForward(
          inputs, gate: gate, up: up, down: down, activation: activation, adding: true)
        return
      }
      let output = MatrixView(rows: inputs.rows, columns: inputs.columns)
      output.feedForward(inputs, gate: gate, up: up, down: down, activation: activation)
      if let outputGate {
        outputGate.add(output, of: inputs, times: factor, to: result)
      } else {
        result.add(output, times: factor)
      }
    }
  }
}
