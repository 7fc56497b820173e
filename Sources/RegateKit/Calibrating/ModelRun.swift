// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Inference
import Synchronization
import Tensors

extension Model {
  /// A forward pass over `tokens` in `streams` copies; its work is reported to `progress`.
  func forwardPass(
    _ tokens: TokenSet, streams: Int, threads: Int, label: String, progress: any ProgressSink
  ) throws(RegateError) -> ForwardPass {
    let inference = try InferenceModel(checkpoint, layout: layout)
    let seen = Mutex((total: 0, completed: 0, skipped: 0))
    let count = tokens.tokens
    return try ForwardPass(
      inference, sequences: tokens.sequences, streams: streams, threads: threads
    ) { state in
      seen.withLock { seen in
        if seen.total != state.total {
          progress.begin(label, total: state.total, tokens: count)
          seen = (state.total, 0, 0)
        }
        progress.enter(state.stage)
        let skipped = state.skipped - seen.skipped
        if skipped > 0 { progress.skip(skipped) }
        progress.advance(state.completed - seen.completed - skipped)
        (seen.completed, seen.skipped) = (state.completed, state.skipped)
      }
    }
  }
}
