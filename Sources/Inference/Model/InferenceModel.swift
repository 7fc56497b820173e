// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
import OrderedCollections
import Tensors

/// A checkpoint that Regate can run: its configuration read and its weights found by name.
package struct InferenceModel: Sendable {
  package let checkpoint: any Checkpoint
  package let layout: ModelLayout
  /// H.
  package let hiddenSize: Int
  /// Rows of the embedding.
  package let vocabularySize: Int
  /// Of the norms over hidden states.
  let epsilon: Float
  private(set) var layers: [ModelLayer]
  /// Of all feed-forward networks.
  let activation: GatedActivation
  let weights: WeightReader
  let embedding: TensorInfo
  /// The output head [V,H]; the embedding where the two are tied.
  let head: TensorInfo

  /// The number of layers, dense ones included.
  package var layerCount: Int { layers.count }

  /// Reads configuration and tensor names; throws where the family or a tensor's type cannot be
  /// run.
  package init(_ checkpoint: any Checkpoint, layout: ModelLayout) throws(RegateError) {
    guard let mixer = layout.family.mixer, let activation = layout.family.activation.gated else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: layout.family.title,
        "Regate inspects this family, but cannot run it",
        advice: "capture activations with tools/capture.py")
    }
    _ = try ExpertReader(checkpoint, layout: layout)
    let isGGUF = checkpoint.container == .gguf
    let settings = try Settings.ofModel(checkpoint)
    var source = MixerSettings(
      settings: settings, weights: WeightReader(checkpoint, layout: layout),
      epsilon: try Self.epsilon(settings, isGGUF: isGGUF))
    let experts = Dictionary(uniqueKeysWithValues: layout.layers.map { ($0.index, $0) })
    layers = try mixer.layers(&source).enumerated().map { index, mixer in
      ModelLayer(mixer: mixer, feedForward: experts[index].map { .experts($0) } ?? .dense)
    }
    try Self.refuseClipping(&source.settings)
    self.checkpoint = checkpoint
    self.layout = layout
    self.activation = activation
    epsilon = source.epsilon
    weights = source.weights
    hiddenSize = layout.hiddenSize
    embedding = try weights.embedding()
    vocabularySize = embedding.shape[0]
    try Self.checkVocabulary(vocabularySize, embedding, checkpoint, &source.settings)
    let isTied =
      isGGUF ? nil : try source.settings.bool(Key("tie_word_embeddings", default: false))
    head = try weights.head(embedding: embedding, isTied: isTied)
  }

  /// The same model with another token mixer in layer `index`.
  package func replacing(mixer: some TokenMixer, ofLayer index: Int) -> InferenceModel {
    var model = self
    model.layers[index].mixer = mixer
    return model
  }

  /// A norm over hidden states of a layer.
  func norm(_ name: WeightName, layer: Int) throws(RegateError) -> RMSNorm {
    RMSNorm(
      weight: try weights.vector(name, layer: layer, count: hiddenSize), epsilon: epsilon)
  }

  private static func epsilon(
    _ settings: Settings, isGGUF: Bool
  ) throws(RegateError) -> Float {
    var settings = settings
    let key =
      isGGUF
      ? Key<Double>("attention.layer_norm_rms_epsilon", default: nil)
      : Key<Double>("rms_norm_eps", default: 1e-6)
    guard let epsilon = try settings.number(key) else { throw settings.missing(key) }
    return Float(epsilon)
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
