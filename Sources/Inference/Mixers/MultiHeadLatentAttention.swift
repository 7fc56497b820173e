// SPDX-License-Identifier: Apache-2.0
//
// Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries, keys and values are
// expanded from bottlenecks. A head is `nope` unrotated dimensions, then the rotated ones, which
// all heads' keys share. Its weights and their use are in +Layer.

import Architectures
import ByteStorage
import Checkpoints
import Tensors

/// Latent attention of one layer; every query head has keys and values of its own.
struct MultiHeadLatentAttention: TokenMixer {
  let hiddenSize: Int
  let shape: AttentionShape
  let rope: Rope
  /// Nil: queries are projected without a bottleneck.
  let queryRank: Int?
  let keyRank: Int
  let nope: Int
  /// Of the norms over the bottlenecks.
  let epsilon: Float
  let biases: Presence
  let outputBias: Presence
  /// Keys that a sparse indexer keeps for each query; nil where there is none.
  let keptKeys: Int?

  /// Width of all heads' unrotated keys and values.
  var expanded: Int { shape.heads * (nope + shape.valueSize) }

  /// Queries, keys and values, context, and the keys' shared part.
  var floatsPerToken: Int {
    shape.queries + shape.keys + 2 * shape.context + rope.dimensions
  }

  func bufferBytes(tokens: Int) -> Int {
    MixerBlocks.bytes(tokens: tokens, floatsPerToken: floatsPerToken)
  }

  func weightBytes(layer: Int, in reader: WeightReader) -> Int {
    var matrices: [WeightReader.Size] = [
      (.output, hiddenSize, shape.context),
      (.keyValueDown, keyRank + rope.dimensions, hiddenSize), (.keyValueUp, expanded, keyRank),
    ]
    if let queryRank {
      matrices += [(.queryDown, queryRank, hiddenSize), (.queryUp, shape.queries, queryRank)]
    } else {
      matrices.append((.query, shape.queries, hiddenSize))
    }
    return reader.bytes(of: matrices, layer: layer)
  }

  func load(
    layer: Int, from reader: WeightReader, ropes: RopeTables, threads: Int
  ) throws(RegateError) -> any LoadedMixer {
    if let keptKeys, ropes.positions > keptKeys {
      throw RegateError(
        .unsupported, file: reader.checkpoint.path, subject: "index_topk",
        "is \(keptKeys): of longer sequences the sparse indexer leaves out keys, which Regate does"
          + " not compute, but one has \(ropes.positions) tokens",
        advice: "give a `length` of at most \(keptKeys)")
    }
    return try Layer(self, layer: layer, reader, ropes.table(of: rope, reader), threads: threads)
  }
}

// MARK: Settings

extension MultiHeadLatentAttention {
  /// The attention of each layer, which is the same in all.
  static func layers(
    _ traits: LatentAttentionTraits, _ source: inout MixerSettings
  ) throws(RegateError) -> [MultiHeadLatentAttention] {
    let mixer = try source.isGGUF ? gguf(traits, &source) : huggingFace(traits, &source)
    return [MultiHeadLatentAttention](repeating: mixer, count: source.layerCount)
  }

  private static func huggingFace(
    _ traits: LatentAttentionTraits, _ source: inout MixerSettings
  ) throws(RegateError) -> MultiHeadLatentAttention {
    let heads = try source.heads()
    try checkKeyHeads(heads, &source)
    let sizes = traits.sizes
    let nope = try source.settings.required(sizes.nope, minimum: 1)
    let rotated = try source.settings.required(sizes.rotated, minimum: 1)
    let queryRank = try source.settings.integer(sizes.queryRank, minimum: 1)
    let keyRank = try source.settings.required(sizes.keyRank, minimum: 1)
    if let key = traits.rotatedSize {
      let size = try source.settings.required(Key(key, default: rotated))
      guard size == rotated else {
        throw source.settings.mismatch(key, "is \(size), but qk_rope_head_dim is \(rotated)")
      }
    }
    let (rope, growth) = try rotation(traits, nope: nope, rotated: rotated, &source)
    let valueSize = try source.settings.required(sizes.value, minimum: 1)
    let (biases, outputBias) = try source.biases(traits.biases)
    return MultiHeadLatentAttention(
      hiddenSize: source.hiddenSize,
      shape: shape(heads: heads, size: nope + rotated, valueSize: valueSize, growth),
      // transformers builds these norms without the model's epsilon.
      rope: rope, queryRank: queryRank, keyRank: keyRank, nope: nope, epsilon: 1e-6,
      biases: biases, outputBias: outputBias,
      keptKeys: try traits.indexer.map { indexer throws(RegateError) in
        try source.settings.required(indexer.keptKeys, minimum: 1)
      })
  }

  private static func rotation(
    _ traits: LatentAttentionTraits, nope: Int, rotated: Int, _ source: inout MixerSettings
  ) throws(RegateError) -> (rope: Rope, softmaxGrowth: Double) {
    guard traits.rotatesPartOfHead else {
      return try Rope.read(traits.rope, headSize: rotated, &source)
    }
    // transformers takes the frequencies from the whole head's key.
    let key = Key<Int>("head_dim", default: nil)
    if !source.isGGUF, let size = try source.settings.integer(key), size != nope + rotated {
      throw source.settings.mismatch(
        "head_dim", "is \(size), expected \(nope + rotated), the rotated part and the other one")
    }
    var part = traits.rope
    part.partialRotation = Double(rotated) / Double(nope + rotated)
    let found = try Rope.read(part, headSize: nope + rotated, &source)
    guard found.rope.dimensions == rotated else {
      throw source.settings.mismatch(
        "partial_rotary_factor",
        "rotates \(found.rope.dimensions) dimensions of a head, but qk_rope_head_dim is \(rotated)")
    }
    return found
  }

  /// transformers repeats keys for as many query heads as there are to each of these heads,
  /// although every query head has keys of its own.
  private static func checkKeyHeads(
    _ heads: Int, _ source: inout MixerSettings
  ) throws(RegateError) {
    let key = Key("num_key_value_heads", default: heads, null: .means(heads))
    let keyHeads = try source.settings.required(key, minimum: 1)
    guard heads / keyHeads > 1 else { return }
    throw source.settings.mismatch(
      key.names[0], "is \(keyHeads), expected \(heads) as of num_attention_heads")
  }

  private static func gguf(
    _ traits: LatentAttentionTraits, _ source: inout MixerSettings
  ) throws(RegateError) -> MultiHeadLatentAttention {
    let heads = try source.heads()
    // Files from before the split of kv_b give the unabsorbed sizes under the plain keys.
    let suffix = source.weights.has(.keyUp, layer: 0) ? "_mla" : ""
    let size = try source.settings.required(
      Key("attention.key_length" + suffix, default: nil), minimum: 1)
    let valueSize = try source.settings.required(
      Key("attention.value_length" + suffix, default: nil), minimum: 1)
    let (rope, growth) = try Rope.read(traits.rope, headSize: size, &source)
    guard rope.dimensions < size else {
      throw source.settings.mismatch(
        "rope.dimension_count", "is \(rope.dimensions), expected below \(size), the key length")
    }
    let queryRank = try source.settings.integer(
      Key("attention.q_lora_rank", default: nil), minimum: 1)
    let keyRank = try source.settings.required(
      Key("attention.kv_lora_rank", default: nil), minimum: 1)
    let (biases, outputBias) = try source.biases(traits.biases)
    return MultiHeadLatentAttention(
      hiddenSize: source.hiddenSize,
      shape: shape(heads: heads, size: size, valueSize: valueSize, growth),
      rope: rope, queryRank: queryRank, keyRank: keyRank, nope: size - rope.dimensions,
      epsilon: source.epsilon, biases: biases, outputBias: outputBias,
      keptKeys: try traits.indexer.map { indexer throws(RegateError) in
        try source.settings.required(indexer.ggufKeptKeys, minimum: 1)
      })
  }

  /// `growth` multiplies the scores, beside the head size's root.
  private static func shape(
    heads: Int, size: Int, valueSize: Int, _ growth: Double
  ) -> AttentionShape {
    AttentionShape(
      heads: heads, keyHeads: heads, keySize: size, valueSize: valueSize,
      scale: Float(growth / Double(size).squareRoot()), window: nil)
  }
}
