// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Inference

/// What running a model on tokens needs, told from headers and the number of tokens.
struct RunEstimate: Sendable {
  /// Hidden states [T,H] of all streams; what a kept state takes on the disk.
  let hiddenBytes: Int
  /// What stays in memory from layer to layer, and what each layer's routers read.
  let stateBytes: Int
  /// What a layer takes beside that while it runs.
  let layerBytes: Int
  /// Estimated peak of resident memory, mapped files aside, of the pass alone.
  var memoryBytes: Int { stateBytes + layerBytes + RunEstimate.processBytes }

  /// The program itself, its vocabulary, and buffers that lie idle for the next use.
  static let processBytes = 64 << 20

  init(
    _ model: Model, tokens: Int, streams: Int, threads: Int
  ) throws(RegateError) {
    let inference = try InferenceModel(model.checkpoint, layout: model.layout)
    hiddenBytes = 4 * streams * tokens * inference.hiddenSize
    func states(_ copies: Int) -> Int {
      inference.stateBytes(tokens: tokens, streams: streams, copies: copies)
    }
    stateBytes = states(1)
    // Where streams differ, what the experts give is held apart from what it is added to.
    layerBytes =
      inference.workingBytes(tokens: tokens, streams: streams, threads: threads)
      + (streams > 1 ? states(2) - states(1) : 0)
  }
}
