// SPDX-License-Identifier: Apache-2.0

import Architectures
import Routing

extension InferenceModel {
  /// Floats of the weights that one layer's attention has decoded at a time.
  var attentionFloats: Int {
    let shape = attention
    let output = shape.heads * shape.valueSize * hiddenSize
    guard let latent = shape.latent else {
      return output
        + (shape.heads * shape.keySize + shape.keyHeads * (shape.keySize + shape.valueSize))
        * hiddenSize
    }
    let queries = shape.heads * shape.keySize
    let queryFloats =
      latent.queryRank.map { $0 * (hiddenSize + queries) } ?? queries * hiddenSize
    return output + queryFloats + (latent.keyRank + shape.rope.dimensions) * hiddenSize
      + latent.keyRank * shape.heads * (latent.nope + shape.valueSize)
  }

  /// Bytes that a pass over `tokens` tokens needs at most beside its hidden states: decoded weights
  /// and buffers of limited size.
  package func workingBytes(tokens: Int, streams: Int, threads: Int) -> Int {
    let group = min(AttentionPass.groupFloats, tokens * attention.floatsPerToken)
    let experts = layout.layers.map { layer in
      threads
        * (3 * layer.expertWidth + ExpertWeights.blockRows) * hiddenSize
        + min(
          RoutedExperts.waveFloats,
          streams * tokens * layer.rule.topK * hiddenSize)
    }
    return 4 * max(attentionFloats + group, experts.max() ?? 0)
  }
}
