// SPDX-License-Identifier: Apache-2.0
//
// What a pass needs, told from headers: the sizes that ForwardPass.swift and its parts work with.

import Architectures
import Checkpoints
import Routing
import Tensors

extension InferenceModel {
  /// Bytes of the weights of one layer's attention, as they are multiplied.
  func attentionBytes(layer: Int) -> Int {
    let shape = attention
    let (queries, values) = (shape.heads * shape.keySize, shape.heads * shape.valueSize)
    var matrices: [(name: WeightName, rows: Int, columns: Int)] = [(.output, hiddenSize, values)]
    if let latent = shape.latent {
      let compressed = latent.keyRank + shape.rope.dimensions
      let expanded = shape.heads * (latent.nope + shape.valueSize)
      matrices += [
        (.keyValueDown, compressed, hiddenSize), (.keyValueUp, expanded, latent.keyRank),
      ]
      matrices +=
        latent.queryRank.map { [(.queryDown, $0, hiddenSize), (.queryUp, queries, $0)] }
        ?? [(.query, queries, hiddenSize)]
    } else {
      matrices += [
        (.query, queries, hiddenSize), (.key, shape.keyHeads * shape.keySize, hiddenSize),
        (.value, shape.keyHeads * shape.valueSize, hiddenSize),
      ]
    }
    return matrices.reduce(0) { sum, matrix in
      sum
        + PackedMatrix.bytes(
          rows: matrix.rows, columns: matrix.columns,
          precision: weights.precision(of: matrix.name, layer: layer))
    }
  }

  /// Bytes of one routed expert of `layer`, as it is multiplied.
  func expertBytes(_ layer: MoELayer) -> Int {
    let weight = layer.experts.first { $0.kind == .weight }
    let precision = weight.map {
      ProductPrecision(
        of: $0.slice(expert: 0).tensor.type, scaled: layer.experts.contains { $0.kind == .scale })
    }
    let (width, hidden) = (layer.expertWidth, layer.hiddenSize)
    func bytes(_ rows: Int, _ columns: Int) -> Int {
      PackedMatrix.bytes(rows: rows, columns: columns, precision: precision ?? .full)
    }
    return 2 * bytes(width, hidden) + bytes(hidden, width)
  }

  /// Bytes of a dense layer's network, as it is multiplied; 0 for an MoE layer.
  func denseBytes(layer: Int) -> Int {
    guard let width = try? weights.rows(of: .gate, layer: layer) else { return 0 }
    return DensePart.bytes(
      hidden: hiddenSize, width: width, precision: weights.precision(of: .gate, layer: layer))
  }

  /// Bytes that a pass over `tokens` tokens needs at most beside what holds a row for each token:
  /// weights as they are multiplied, and buffers of limited size.
  package func workingBytes(tokens: Int, streams: Int, threads: Int) -> Int {
    let group = 4 * min(AttentionPass.groupFloats, tokens * attention.floatsPerToken)
    let attentions = (0..<layerCount).map { attentionBytes(layer: $0) + group }
    let experts = layout.layers.map { layer in
      let rows = 4 * ExpertWeights.blockRows * (layer.hiddenSize + 2 * layer.expertWidth)
      let outputs = streams * tokens * layer.rule.topK * layer.hiddenSize
      return threads * (expertBytes(layer) + rows)
        + 4 * min(RoutedExperts.waveFloats, outputs)
    }
    let dense = (0..<layerCount).map { min(denseBytes(layer: $0), PassMemory().dense) }
    return max(attentions.max() ?? 0, experts.max() ?? 0, dense.max() ?? 0)
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
