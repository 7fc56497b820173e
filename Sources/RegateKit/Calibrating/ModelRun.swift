// SPDX-License-Identifier: Apache-2.0

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
    let seen = Mutex((total: 0, completed: 0))
    return try ForwardPass(
      inference, sequences: tokens.sequences, streams: streams, threads: threads
    ) { state in
      seen.withLock { seen in
        if seen.total != state.total {
          progress.begin(label, total: state.total)
          seen = (state.total, 0)
        }
        progress.advance(state.completed - seen.completed)
        seen.completed = state.completed
      }
    }
  }
}
