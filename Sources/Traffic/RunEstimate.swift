// SPDX-License-Identifier: Apache-2.0

import Architectures
package import ByteStorage
import Checkpoints
import Inference

/// What running a model on tokens needs, told from headers and the number of tokens.
package struct RunEstimate: Sendable {
  /// Hidden states [T,H] of all streams; what a kept state takes on the disk.
  package let hiddenBytes: Int
  /// What stays in memory from layer to layer, and what each layer's routers read.
  package let stateBytes: Int
  /// What a layer takes beside that while it runs.
  package let layerBytes: Int
  /// Estimated peak of resident memory, mapped files aside, of the pass alone.
  package var memoryBytes: Int { stateBytes + layerBytes + RunEstimate.processBytes }

  /// The program itself, its vocabulary, and buffers that lie idle for the next use.
  package static let processBytes = 64 << 20

  package init(
    _ set: TokenSet, streams: Int, threads: Int
  ) throws(RegateError) {
    let inference = try set.runnable.get()
    let tokens = set.tokens
    hiddenBytes = 4 * streams * tokens * inference.hiddenSize
    stateBytes = inference.stateBytes(tokens: tokens, streams: streams, copies: 1)
    layerBytes =
      inference.workingBytes(tokens: tokens, streams: streams, threads: threads)
      + inference.outputBytes(tokens: tokens, streams: streams)
  }
}
