// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
import OrderedCollections

/// A checkpoint that Regate can run: its configuration read and its weights found by name.
package struct InferenceModel: Sendable {
  package let checkpoint: any Checkpoint
  package let layout: ModelLayout
  /// H.
  package let hiddenSize: Int
  /// Rows of the embedding.
  package let vocabularySize: Int
  let epsilon: Float
  let attention: AttentionShape
  let traits: AttentionTraits
  /// Visible positions of each layer, the token's own included; nil: all before it.
  let windows: [Int?]
  let normalisesQueries: Bool
  let weights: WeightReader
  let embedding: TensorInfo
  /// The output head [V,H]; the embedding where the two are tied.
  let head: TensorInfo

  /// The number of layers, dense ones included.
  package var layerCount: Int { layout.layerCount }

  /// Reads configuration and tensor names; throws where the family or a tensor's type cannot be
  /// run.
  package init(_ checkpoint: any Checkpoint, layout: ModelLayout) throws(RegateError) {
    guard let traits = AttentionTraits.of(layout.family) else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: layout.family.title,
        "Regate inspects this family, but cannot run it",
        advice: "capture activations with tools/capture.py")
    }
    _ = try ExpertReader(checkpoint, layout: layout)
    var settings = try Settings.ofModel(checkpoint)
    let weights = WeightReader(checkpoint, layout: layout, traits: traits)
    let isGGUF = checkpoint.container == .gguf
    let epsilonKey =
      isGGUF
      ? Key<Double>("attention.layer_norm_rms_epsilon", default: nil)
      : Key<Double>("rms_norm_eps", default: 1e-6)
    guard let epsilon = try settings.number(epsilonKey) else { throw settings.missing(epsilonKey) }
    self.epsilon = Float(epsilon)
    attention =
      isGGUF
      ? try AttentionShape.read(
        gguf: &settings, hiddenSize: layout.hiddenSize, traits: traits,
        divisors: try weights.ropeDivisors())
      : try AttentionShape.read(
        huggingFace: &settings, hiddenSize: layout.hiddenSize, traits: traits)
    windows =
      isGGUF
      ? [Int?](repeating: nil, count: layout.layerCount)
      : try Self.windows(traits.window, count: layout.layerCount, &settings)
    switch traits.norm {
    case .none: normalisesQueries = false
    case .perHead, .wholeWidth: normalisesQueries = true
    case .perHeadIf(let key):
      normalisesQueries =
        isGGUF ? weights.has(.queryNorm, layer: 0) : try settings.bool(key) ?? false
    }
    try Self.refuseClipping(&settings)
    self.checkpoint = checkpoint
    self.layout = layout
    self.traits = traits
    self.weights = weights.with(
      biases: isGGUF
        ? nil
        : try traits.bias.map { key throws(RegateError) in
          try settings.bool(key) ?? false
        } ?? false)
    hiddenSize = layout.hiddenSize
    embedding = try weights.embedding()
    vocabularySize = embedding.shape[0]
    try Self.checkVocabulary(vocabularySize, embedding, checkpoint, &settings)
    let isTied =
      isGGUF ? nil : try settings.bool(Key("tie_word_embeddings", default: false))
    head = try weights.head(embedding: embedding, isTied: isTied)
  }

  /// OLMoE's `clip_qkv`, which no published checkpoint sets.
  private static func refuseClipping(_ settings: inout Settings) throws(RegateError) {
    for name in ["clip_qkv", "attention.clamp_kqv"] {
      guard let limit = try settings.number(Key(name, default: nil)), limit != 0 else { continue }
      throw RegateError(
        .unsupported, file: settings.file, subject: settings.scope + name,
        "is \(limit), but Regate does not clip queries, keys and values")
    }
  }

  private static func windows(
    _ kind: AttentionTraits.SlidingWindow, count: Int, _ settings: inout Settings
  ) throws(RegateError) -> [Int?] {
    let none = [Int?](repeating: nil, count: count)
    if case .none = kind { return none }
    if case .key = kind {
    } else {
      let key = Key("use_sliding_window", default: false)
      guard try settings.bool(key) == true else { return none }
    }
    let size = try settings.integer(Key("sliding_window", default: nil), minimum: 1)
    guard let size else { return none }
    guard case .switchedOnEvenLayers = kind else { return none.map { _ in size } }
    if let types = settings.strings("layer_types"), types.count == count {
      return types.map { $0 == "sliding_attention" ? size : nil }
    }
    let below = try settings.required(Key("max_window_layers", default: 28))
    return (0..<count).map { $0 % 2 == 0 && $0 < below ? size : nil }
  }

  private static func checkVocabulary(
    _ rows: Int, _ embedding: TensorInfo, _ checkpoint: any Checkpoint, _ settings: inout Settings
  ) throws(RegateError) {
    let stated: (key: String, size: Int)?
    switch checkpoint.format {
    case .gguf(let gguf):
      stated = gguf.metadata["tokenizer.ggml.tokens"]?.array.map {
        (key: "tokenizer.ggml.tokens", size: $0.count)
      }
    case .safetensors:
      stated = try settings.integer(Key("vocab_size", default: nil)).map {
        (key: "vocab_size", size: $0)
      }
    }
    guard let stated, stated.size != rows else { return }
    throw RegateError(
      .mismatch, file: checkpoint.path, subject: embedding.name,
      "has \(rows) rows, but \(stated.key) says \(stated.size) tokens",
      advice: "fetch the checkpoint again")
  }
}
