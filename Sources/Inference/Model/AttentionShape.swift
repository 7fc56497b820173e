// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation

/// The sizes of a model's attention blocks.
struct AttentionShape: Sendable {
  /// Query heads.
  let heads: Int
  /// Key and value heads; equal to `heads` for latent attention.
  let keyHeads: Int
  /// Width of a query or key head; for latent attention the rotated part included.
  let keySize: Int
  /// Width of a value head.
  let valueSize: Int
  /// Multiplies the scores before the softmax.
  let scale: Float
  let rope: Rope
  let latent: Latent?

  /// Multi-head latent attention: queries and keys are `nope` unrotated dimensions, then the
  /// rotated ones.
  struct Latent: Sendable {
    /// Nil: queries are projected without a bottleneck.
    let queryRank: Int?
    let keyRank: Int
    let nope: Int
    /// Epsilon of the norms over the bottlenecks.
    let epsilon: Float
  }

  /// Floats per token that a block of attention needs beside the hidden states.
  var floatsPerToken: Int {
    let queriesAndKeys = heads * keySize + keyHeads * (keySize + valueSize)
    return latent == nil ? queriesAndKeys : queriesAndKeys + heads * valueSize + rope.dimensions
  }

  static func read(
    huggingFace settings: inout Settings, hiddenSize: Int, traits: AttentionTraits
  ) throws(RegateError) -> AttentionShape {
    let heads = try settings.required(Key("num_attention_heads", default: nil), minimum: 1)
    if traits.latent {
      let nope = try settings.required(Key("qk_nope_head_dim", default: 128), minimum: 1)
      let rotated = try settings.required(Key("qk_rope_head_dim", default: 64), minimum: 1)
      let latent = Latent(
        queryRank: try settings.integer(Key("q_lora_rank", default: nil), minimum: 1),
        keyRank: try settings.required(Key("kv_lora_rank", default: 512), minimum: 1),
        // transformers builds these norms without the model's epsilon.
        nope: nope, epsilon: 1e-6)
      let (rope, growth) = try Rope.read(
        huggingFace: &settings, headSize: rotated, traits: traits)
      return AttentionShape(
        heads: heads, keyHeads: heads, keySize: nope + rotated,
        valueSize: try settings.required(Key("v_head_dim", default: 128), minimum: 1),
        scale: Float(growth / Double(nope + rotated).squareRoot()), rope: rope, latent: latent)
    }
    let keyHeads =
      try settings.integer(Key("num_key_value_heads", default: nil), minimum: 1) ?? heads
    let size = try settings.integer(Key("head_dim", default: nil), minimum: 1)
    return try grouped(
      heads: heads, keyHeads: keyHeads, size: size ?? hiddenSize / heads,
      rope: try Rope.read(
        huggingFace: &settings, headSize: size ?? hiddenSize / heads, traits: traits
      ).rope,
      settings, keyHeadsKey: "num_key_value_heads")
  }

  static func read(
    gguf settings: inout Settings, hiddenSize: Int, traits: AttentionTraits, divisors: [Float]?
  ) throws(RegateError) -> AttentionShape {
    let heads = try uniform(Key("attention.head_count", default: nil), &settings)
    guard let heads else { throw settings.missing(Key<Int>("attention.head_count", default: nil)) }
    guard traits.latent else {
      let keyHeads = try uniform(Key("attention.head_count_kv", default: heads), &settings) ?? heads
      let size = try settings.required(
        Key("attention.key_length", default: hiddenSize / heads), minimum: 1)
      let valueSize = try settings.required(
        Key("attention.value_length", default: hiddenSize / heads), minimum: 1)
      guard valueSize == size else {
        throw settings.mismatch("attention.value_length", "is \(valueSize), expected \(size)")
      }
      return try grouped(
        heads: heads, keyHeads: keyHeads, size: size,
        rope: try Rope.read(
          gguf: &settings, headSize: size, traits: traits, divisors: divisors
        ).rope,
        settings, keyHeadsKey: "attention.head_count_kv")
    }
    // Files from before the split of kv_b give the unabsorbed sizes under the plain keys.
    let keySize = try settings.required(
      Key("attention.key_length_mla", "attention.key_length", default: nil), minimum: 1)
    let valueSize = try settings.required(
      Key("attention.value_length_mla", "attention.value_length", default: nil), minimum: 1)
    let (rope, growth) = try Rope.read(
      gguf: &settings, headSize: keySize, traits: traits, divisors: divisors)
    guard rope.dimensions < keySize else {
      throw settings.mismatch(
        "rope.dimension_count", "is \(rope.dimensions), expected below \(keySize), the key length")
    }
    let epsilon = try settings.number(Key("attention.layer_norm_rms_epsilon", default: nil))
    let latent = Latent(
      queryRank: try settings.integer(Key("attention.q_lora_rank", default: nil), minimum: 1),
      keyRank: try settings.required(Key("attention.kv_lora_rank", default: nil), minimum: 1),
      nope: keySize - rope.dimensions, epsilon: Float(epsilon ?? 1e-6))
    return AttentionShape(
      heads: heads, keyHeads: heads, keySize: keySize, valueSize: valueSize,
      scale: Float(growth / Double(keySize).squareRoot()), rope: rope, latent: latent)
  }

  private static func grouped(
    heads: Int, keyHeads: Int, size: Int, rope: Rope, _ settings: Settings, keyHeadsKey: String
  ) throws(RegateError) -> AttentionShape {
    guard keyHeads > 0, heads % keyHeads == 0 else {
      throw settings.mismatch(
        keyHeadsKey, "is \(keyHeads), which does not divide the \(heads) query heads")
    }
    return AttentionShape(
      heads: heads, keyHeads: keyHeads, keySize: size, valueSize: size,
      scale: Float(1 / Double(size).squareRoot()), rope: rope, latent: nil)
  }

  /// A count that llama.cpp allows to differ between layers, where it does not.
  private static func uniform(
    _ key: Key<Int>, _ settings: inout Settings
  ) throws(RegateError) -> Int? {
    guard let value = try settings.perLayer(key) else { return nil }
    let found: Int
    switch value {
    case .all(let count): found = count
    case .each(let counts):
      guard let first = counts.first, counts.allSatisfy({ $0 == first }) else {
        throw RegateError(
          .unsupported, file: settings.file, subject: settings.scope + key.names[0],
          "differs from layer to layer, which Regate cannot run")
      }
      found = first
    }
    guard found > 0 else { throw settings.mismatch(key.names[0], "is 0, expected heads") }
    return found
  }
}
