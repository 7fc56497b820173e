// SPDX-License-Identifier: Apache-2.0
//
// What a configuration says beside what a pass computes with: sizes that tensors tell too, and
// computations that Regate does not have.

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections

extension InferenceModel {
  /// Keys that change what transformers or llama.cpp compute, in a way that Regate does not know.
  static func refuseUncomputed(
    _ settings: Settings, _ layout: ModelLayout
  ) throws(RegateError) {
    let family = layout.family
    let keys =
      layout.container == .gguf
      ? family.gguf.uncomputed + [.causal] : family.huggingFace.uncomputed
    for key in keys {
      guard let text = settings.text(of: key.name) ?? key.absent, !key.off.contains(text) else {
        continue
      }
      throw RegateError(
        .unsupported, file: settings.file, subject: settings.scope + key.name,
        "is \(text), with which \(family.title) computes what Regate does not")
    }
  }

  /// Sizes of feed-forward networks that llama.cpp takes from keys, where tensors tell them too.
  /// Those of latent attention's families are read with it.
  static func requireLoaded(
    _ checkpoint: GGUFCheckpoint, _ layout: ModelLayout
  ) throws(RegateError) {
    if case .latent = layout.family.mixer { return }
    let advice = "convert the model again with a current llama.cpp"
    let keys = GGUFKeys(checkpoint, of: layout.family).refused
    if let problem = keys.first(where: { $0.key.contains(".expert_") }) {
      throw RegateError(
        .malformed, file: checkpoint.path, subject: problem.key,
        problem.text + ", with which llama.cpp does not load \(layout.family.title)", advice: advice
      )
    }
    let parameters = try GGUFParameters.list(layout, checkpoint)
    let comparison = ParameterComparison(parameters, with: checkpoint)
    if let tensor = comparison.mismatched.first(where: { $0.name.contains(".ffn_") }) {
      throw RegateError(
        .mismatch, file: checkpoint.path, subject: tensor.name,
        "is stored as \(tensor.stored), but the keys of the file make it \(tensor.expected) in"
          + " llama.cpp (outermost dimension first)", advice: advice)
    }
    if let name = comparison.missing.first(where: { $0.contains("_shexp.") }) {
      throw RegateError(
        .missing, file: checkpoint.path, subject: name,
        "is not stored, but the keys of the file make it in llama.cpp", advice: advice)
    }
    guard let name = comparison.surplus.first(where: { $0.contains("_shexp.") }) else { return }
    throw RegateError(
      .mismatch, file: checkpoint.path, subject: name,
      "is stored, but the keys of the file make no shared experts, and llama.cpp does not load it",
      advice: advice)
  }

  /// The widths of dense layers and shared experts, which their tensors tell and transformers
  /// takes from the configuration.
  static func checkWidths(
    _ source: inout MixerSettings, experts: [Int: MoELayer]
  ) throws(RegateError) {
    let traits = source.layout.family.huggingFace
    let weights = source.weights
    let dense = try traits.denseWidth.map { key throws(RegateError) in
      (key.names[0], try source.settings.required(key))
    }
    let unshared = try otherTypeWithoutShared(&source)
    let shared = try traits.sharedWidth.map { key throws(RegateError) in
      (key.names[0], unshared == nil ? try source.settings.required(key) : 0)
    }
    let counted = traits.sharedExperts?.names[0] ?? ""
    for layer in 0..<source.layerCount {
      guard let layout = experts[layer] else {
        if let dense {
          let rows = try weights.rows(of: .gate, layer: layer)
          try check(dense, rows, "layer \(layer)'s dense network", source.settings)
        }
        continue
      }
      guard !layout.shared.isEmpty || shared.map({ $0.1 > 0 }) == true else { continue }
      if let unshared, let tensor = layout.shared.first {
        throw source.settings.mismatch(
          "model_type",
          "is \(unshared.found), whose class has no shared experts, but \(tensor.name) is stored",
          advice: "write \(unshared.expected) to use them, or remove them")
      }
      // Both are at most Settings.limit, so that the product fits.
      let width = shared ?? (counted, layout.expertWidth * layout.sharedExperts)
      let rows = try weights.sharedWidth(layer: layer)
      try check(width, rows, "layer \(layer)'s shared experts", source.settings)
    }
  }

  /// The model's type, where its class has none of the shared experts that another type's has, and
  /// that other type.
  private static func otherTypeWithoutShared(
    _ source: inout MixerSettings
  ) throws(RegateError) -> (found: String, expected: String)? {
    let traits = source.layout.family.huggingFace
    guard case .fused(_, _, let expected) = traits.made.shared,
      let found = try source.settings.string(.optional("model_type")), found != expected,
      traits.modelTypes.contains(found)
    else { return nil }
    return (found, expected)
  }

  private static func check(
    _ width: (key: String, value: Int), _ found: Int, _ network: String, _ settings: Settings
  ) throws(RegateError) {
    guard found != width.value else { return }
    throw settings.mismatch(
      width.key, "makes \(network) \(width.value) wide, but found are \(found) rows")
  }

  /// The number of tokens that the file states.
  static func checkVocabulary(
    _ rows: Int, _ embedding: TensorInfo, _ source: inout MixerSettings
  ) throws(RegateError) {
    let checkpoint = source.weights.checkpoint
    let stated: (key: String, size: Int)?
    switch checkpoint.format {
    case .gguf(let gguf):
      stated = gguf.metadata["tokenizer.ggml.tokens"]?.array.map {
        (key: "tokenizer.ggml.tokens", size: $0.count)
      }
    case .safetensors:
      let key = Key("vocab_size", default: source.defaults.vocabulary)
      stated = (key: "vocab_size", size: try source.settings.required(key))
    }
    guard let stated, stated.size != rows else { return }
    throw RegateError(
      .mismatch, file: checkpoint.path, subject: embedding.name,
      "has \(rows) rows, but \(stated.key) says \(stated.size) tokens",
      advice: "make the two agree: the embedding or the vocabulary was changed")
  }
}
