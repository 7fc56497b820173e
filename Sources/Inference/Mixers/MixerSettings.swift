// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints

/// What a model's token mixers are told from.
struct MixerSettings {
  var settings: Settings
  let weights: WeightReader
  /// Of the model's norms.
  let epsilon: Float

  var layout: ModelLayout { weights.layout }
  var hiddenSize: Int { layout.hiddenSize }
  var layerCount: Int { layout.layerCount }
  var isGGUF: Bool { layout.container == .gguf }
  var defaults: ClassDefaults { layout.family.huggingFace.defaults }

  /// Which projections have biases: GGUF files tell by what they hold.
  mutating func biases(
    _ traits: ProjectionBiases
  ) throws(RegateError) -> (inputs: Presence, output: Presence) {
    if isGGUF { return (.optional, .optional) }
    let has = try traits.key.map { key throws(RegateError) in try settings.bool(key) ?? false }
    let inputs: Presence = has == true ? .required : .absent
    return (inputs, traits.output ? inputs : .absent)
  }

  /// A count of GGUF metadata that llama.cpp allows to differ between layers, where it does not.
  mutating func uniform(_ key: Key<Int>) throws(RegateError) -> Int? {
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

  /// The number of query heads.
  mutating func heads() throws(RegateError) -> Int {
    guard isGGUF else {
      let key = Key("num_attention_heads", default: defaults.heads)
      return try settings.required(key, minimum: 1)
    }
    let key = Key<Int>("attention.head_count", default: nil)
    guard let heads = try uniform(key) else { throw settings.missing(key) }
    return heads
  }
}

extension MixerTraits {
  /// The mixer of each layer of a model with these settings.
  func layers(_ source: inout MixerSettings) throws(RegateError) -> [any TokenMixer] {
    switch self {
    case .groupedQuery(let traits): try GroupedQueryAttention.layers(traits, &source)
    case .latent(let traits): try MultiHeadLatentAttention.layers(traits, &source)
    case .hybrid(let delta, let attention): try hybrid(delta, attention, &source)
    }
  }

  private func hybrid(
    _ delta: GatedDeltaTraits, _ attention: GroupedQueryTraits, _ source: inout MixerSettings
  ) throws(RegateError) -> [any TokenMixer] {
    let attends = try delta.attentionLayers(
      count: source.layerCount, &source.settings, isGGUF: source.isGGUF)
    let attention = try GroupedQueryAttention.layers(attention, &source)
    let net = try GatedDeltaNet(delta, &source)
    return zip(attends, attention).map { attends, attention -> any TokenMixer in
      attends ? attention : net
    }
  }
}
