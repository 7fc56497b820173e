// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Inference

/// What running a model on tokens needs, told from headers and the number of tokens.
struct RunEstimate: Sendable {
  /// Hidden states [T,H] of all streams; also what a kept state takes on the disk.
  let hiddenBytes: Int
  /// Estimated peak of resident memory, mapped files aside.
  let memoryBytes: Int

  /// Hidden states, what routers read, and what experts give, of every stream; then the weights that
  /// are decoded at a time.
  init(
    _ model: Model, tokens: Int, streams: Int, threads: Int
  ) throws(RegateError) {
    let inference = try InferenceModel(model.checkpoint, layout: model.layout)
    hiddenBytes = 4 * streams * tokens * inference.hiddenSize
    memoryBytes =
      3 * hiddenBytes
      + inference.workingBytes(tokens: tokens, streams: streams, threads: threads)
  }
}
