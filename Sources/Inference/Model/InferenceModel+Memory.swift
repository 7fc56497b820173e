// SPDX-License-Identifier: Apache-2.0
//
// What a pass needs, told from headers: the sizes that ForwardPass.swift and its parts work with.

import Architectures
import Checkpoints
import Routing
import Tensors

extension InferenceModel {
  /// Bytes of a dense layer's network, as it is multiplied; 0 for an MoE layer.
  func denseBytes(layer: Int) -> Int {
    guard let width = try? weights.rows(of: .gate, layer: layer) else { return 0 }
    return GatedNetwork.bytes(
      hidden: hiddenSize, width: width, precision: weights.products(of: .gate, layer: layer))
  }

  /// Bytes that a pass over `tokens` tokens needs at most beside what holds a row for each token:
  /// weights as they are multiplied, and buffers of limited size.
  package func workingBytes(tokens: Int, streams: Int, threads: Int) -> Int {
    let mixers = layers.indices.map {
      layers[$0].mixer.weightBytes(layer: $0, in: weights)
        + layers[$0].mixer.bufferBytes(tokens: tokens)
    }
    let experts = layout.layers.map { layer in
      let rows = 4 * PackedExpert.blockRows * (layer.hiddenSize + 2 * layer.expertWidth)
      let outputs = streams * tokens * layer.rule.topK * layer.hiddenSize
      return threads * (expertReader.packedBytes(of: layer) + rows)
        + 4 * min(RoutedExperts.waveFloats, outputs)
    }
    let dense = (0..<layerCount).map { min(denseBytes(layer: $0), PassMemory().dense) }
    return max(mixers.max() ?? 0, experts.max() ?? 0, dense.max() ?? 0)
  }

  /// Bytes in memory for what the experts give, where it is held apart from what it is added to:
  /// where streams differ, and in branched layers, which need room for two more [T,H].
  package func outputBytes(tokens: Int, streams: Int) -> Int {
    let one = 4 * tokens * hiddenSize
    guard one <= PassMemory().copies else { return 0 }
    return isBranched ? (streams + 2) * one : streams > 1 ? streams * one : 0
  }

  /// Bytes in memory for one [T,H] of each stream: `copies` of the hidden states, of which each
  /// above its limit lies in a file.
  package func stateBytes(tokens: Int, streams: Int, copies: Int) -> Int {
    let memory = PassMemory()
    let one = 4 * tokens * hiddenSize
    let hidden = one > memory.hidden / streams ? 0 : streams * one
    return hidden + (one > memory.copies ? 0 : copies * streams * one)
  }
}
