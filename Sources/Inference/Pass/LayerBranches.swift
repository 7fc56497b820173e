// SPDX-License-Identifier: Apache-2.0
//
// The feed-forward part of a branched layer (`LayerForm`), whose router's norm is not among these:
//
//   e = experts(n w), d = dense(norm h), n = h without its length
//   h = (h + norm(norm d + norm e)) s

import Architectures
import ByteStorage
import Tensors

/// The norms of a branched layer's dense network and experts, and its scalar.
struct LayerBranches {
  private let denseNorm: HiddenNorm
  private let denseOutputNorm: HiddenNorm
  private let expertOutputNorm: HiddenNorm
  private let outputNorm: HiddenNorm
  private let scale: Float
  private let dense: GatedNetwork
  private let threads: Int

  init(_ model: InferenceModel, layer: Int, threads: Int) throws(RegateError) {
    denseNorm = try model.norm(.denseNorm, layer: layer)
    denseOutputNorm = try model.norm(.denseOutputNorm, layer: layer)
    expertOutputNorm = try model.norm(.expertOutputNorm, layer: layer)
    outputNorm = try model.norm(.outputNorm, layer: layer)
    scale = try model.weights.layerScale(layer: layer)
    dense = try GatedNetwork(shared: model, layer: layer, threads: threads)
    self.threads = threads
  }

  /// Ends the layer for `hidden` [T,H], of which the experts gave `outputs` of the same shape. Both
  /// are written over; `inputs` is room for as many rows, and so is `results`.
  func finish(
    _ hidden: MatrixView, experts outputs: MatrixView, inputs: MatrixView, results: MatrixView,
    limit: Int
  ) throws(RegateError) {
    forEachBlock(hidden) { rows in denseNorm.apply(hidden[rows], into: inputs[rows]) }
    results.fill(0)
    try dense.run([inputs], addingTo: [results], limit: limit)
    forEachBlock(hidden) { rows in
      let (output, result) = (outputs[rows], results[rows])
      expertOutputNorm.apply(output, into: output)
      denseOutputNorm.apply(result, into: result)
      output.add(result)
      outputNorm.apply(output, into: output)
      hidden[rows].add(output)
      if scale != 1 { hidden[rows].multiply(by: scale) }
    }
  }

  private func forEachBlock(
    _ hidden: MatrixView, _ body: @Sendable (Range<Int>) -> Void
  ) {
    Tensors.forEachBlock(
      count: hidden.rows, blockSize: GatedNetwork.blockTokens, threads: threads
    ) { _, rows in body(rows) }
  }
}
