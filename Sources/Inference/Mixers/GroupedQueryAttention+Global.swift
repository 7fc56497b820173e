// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage

extension GroupedQueryAttention {
  /// The attention of each layer of a model whose layers without a window have heads of another
  /// size and a rotation of their own.
  static func layers(
    _ traits: GroupedQueryTraits, _ global: GlobalAttentionTraits, _ source: inout MixerSettings
  ) throws(RegateError) -> [GroupedQueryAttention] {
    let heads = try source.heads()
    let kinds = try kinds(traits, global, heads: heads, &source)
    let window = try window(traits.window, &source)
    let (biases, outputBias) = try source.biases(traits.biases)
    return try kinds.enumerated().map { (index, kind) throws(RegateError) in
      guard heads % kind.keyHeads == 0 else {
        throw source.settings.mismatch(
          source.isGGUF ? "attention.head_count_kv" : traits.keyHeads.names[0],
          "makes \(kind.keyHeads) key heads in layer \(index), which does not divide the \(heads)"
            + " query heads")
      }
      return GroupedQueryAttention(
        hiddenSize: source.hiddenSize,
        shape: AttentionShape(
          heads: heads, keyHeads: kind.keyHeads, keySize: kind.headSize, valueSize: kind.headSize,
          scale: try scale(traits, headSize: kind.headSize, &source),
          window: kind.isGlobal ? nil : window),
        rope: try Rope.read(traits.rope, of: kind, &source),
        norm: .perHead, epsilon: source.epsilon, biases: biases, outputBias: outputBias,
        gatesContext: traits.gatesContext, hasSinks: traits.sinks,
        normsValues: traits.normsValues, sharesValues: kind.sharesValues)
    }
  }

  private static func kinds(
    _ traits: GroupedQueryTraits, _ global: GlobalAttentionTraits, heads: Int,
    _ source: inout MixerSettings
  ) throws(RegateError) -> [GlobalAttentionTraits.Layer] {
    guard !source.isGGUF else {
      let weights = source.weights
      return try global.ggufLayers(
        count: source.layerCount, hiddenSize: source.hiddenSize, heads: heads, &source.settings
      ) { weights.has(.value, layer: $0) || weights.has(.queryKeyValue, layer: $0) }
    }
    let size = try source.settings.required(traits.headSize, minimum: 1)
    let keyHeads = try source.settings.required(traits.keyHeads, minimum: 1)
    return try global.layers(
      count: source.layerCount, usual: (size, keyHeads), &source.settings)
  }

  private static func window(
    _ kind: GroupedQueryTraits.SlidingWindow, _ source: inout MixerSettings
  ) throws(RegateError) -> Int? {
    guard case .unlessGlobal(let key) = kind else { return nil }
    let read = source.isGGUF ? Key<Int>("attention.sliding_window", default: nil) : key
    return try source.settings.required(read, minimum: 1)
  }
}
