// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
import OrderedCollections
package import Tensors

/// A checkpoint that Regate can run: its configuration read and its weights found by name.
package struct InferenceModel: Sendable {
  package let checkpoint: any Checkpoint
  package let layout: ModelLayout
  let precision: Precision
  /// H.
  package let hiddenSize: Int
  /// Rows of the embedding.
  package let vocabularySize: Int
  /// Of the norms over hidden states.
  let epsilon: Float
  let multipliers: Multipliers
  private(set) var layers: [ModelLayer]
  /// Of all feed-forward networks.
  let activation: GatedActivation
  let weights: WeightReader
  let expertReader: ExpertReader
  let embedding: StoredWeight
  /// The output head [V,H]; the embedding where the two are tied.
  let head: StoredWeight
  /// [V].
  let headBias: [Float]?

  /// What its weights are multiplied in on this CPU; in words, where not all are in the same.
  package var products: String {
    var found = Set([head.products(precision).name])
    for layer in layout.layers { found.insert(expertReader.products(of: layer).name) }
    for layer in 0..<layerCount { found.formUnion(weights.products(ofLayer: layer).map(\.name)) }
    return found.sorted().joined(separator: " and ")
  }

  /// Whether its layers are branched.
  var isBranched: Bool { layout.family.layerForm == .branched }

  /// The number of layers, dense ones included.
  package var layerCount: Int { layers.count }

  /// Reads configuration and tensor names; throws where what they say cannot be run.
  package init(
    _ checkpoint: any Checkpoint, layout: ModelLayout, as precision: Precision = .f32
  ) throws(RegateError) {
    guard let mixer = layout.family.mixer, let activation = layout.activation else {
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: layout.family.title,
        "Regate does not run this family, so it takes no text or token ids for it",
        advice:
          "give router inputs that tools/capture.py recorded, or, to inspect, advise and place,"
          + " counts that a runtime made")
    }
    expertReader = try ExpertReader(checkpoint, layout: layout, as: precision)
    let isGGUF = checkpoint.container == .gguf
    let settings = try Settings.ofModel(checkpoint)
    var source = MixerSettings(
      settings: settings, weights: WeightReader(checkpoint, layout: layout, as: precision),
      epsilon: try Self.epsilon(settings, isGGUF: isGGUF, layout.family))
    let experts = Dictionary(uniqueKeysWithValues: layout.layers.map { ($0.index, $0) })
    layers = try mixer.layers(&source).enumerated().map { index, mixer in
      ModelLayer(mixer: mixer, feedForward: experts[index].map { .experts($0) } ?? .dense)
    }
    try Self.refuseUncomputed(source.settings, layout)
    try source.weights.requireUnderstood(layers: layers.count)
    if !isGGUF { try Self.checkWidths(&source, experts: experts) }
    self.checkpoint = checkpoint
    self.precision = precision
    self.layout = layout
    self.activation = activation
    epsilon = source.epsilon
    multipliers = try Multipliers(&source)
    weights = source.weights
    hiddenSize = layout.hiddenSize
    (embedding, head) = try weights.vocabulary(isTied: try Self.isTied(&source))
    vocabularySize = embedding.shape[0]
    headBias = try weights.headBias(
      count: vocabularySize, try Self.headBias(&source))
    try Self.checkVocabulary(vocabularySize, embedding.weight.tensor, &source)
    if case .gguf(let file) = checkpoint.format { try Self.requireLoaded(file, layout) }
  }

  /// The same model with another token mixer in layer `index`.
  package func replacing(mixer: some TokenMixer, ofLayer index: Int) -> InferenceModel {
    var model = self
    model.layers[index].mixer = mixer
    return model
  }

  /// llama.cpp takes the embedding wherever there is no head.
  private static func isTied(_ source: inout MixerSettings) throws(RegateError) -> Bool {
    if source.isGGUF { return true }
    let made = source.layout.family.huggingFace.made
    return try source.settings.bool(Key("tie_word_embeddings", default: made.tiesHead)) == true
  }

  private static func headBias(_ source: inout MixerSettings) throws(RegateError) -> Presence {
    let family = source.layout.family
    if source.isGGUF { return family.gguf.made.outputBias ? .required : .absent }
    guard let key = family.huggingFace.made.headBias else { return .absent }
    return try source.settings.bool(key) == true ? .required : .absent
  }

  private static func epsilon(
    _ settings: Settings, isGGUF: Bool, _ family: Family
  ) throws(RegateError) -> Float {
    var settings = settings
    let key =
      isGGUF
      ? Key<Double>("attention.layer_norm_rms_epsilon", default: nil)
      : Key("rms_norm_eps", default: family.huggingFace.defaults.epsilon)
    guard let epsilon = try settings.number(key) else { throw settings.missing(key) }
    guard epsilon >= 0 else {
      throw settings.mismatch(key.names[0], "is \(epsilon), expected 0 or more")
    }
    return Float(epsilon)
  }
}
