// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp 0.5.0-dev (ggml 0.25.3) creates for an architecture, src/models/*.cpp;
// `tools/interop/check_mutations.py` compares it with what the program loads.

package import ByteStorage
package import Checkpoints
import OrderedCollections

/// Derives what llama.cpp creates from a file's keys. Shapes have the outermost dimension first.
package struct GGUFParameters {
  let layout: ModelLayout
  let checkpoint: GGUFCheckpoint
  var settings: Settings
  private(set) var parameters: [Parameter] = []
  let sizes: GGUFSizes
  /// Of families whose layers' attention differs.
  private var attention: [GlobalAttentionTraits.Layer] = []
  /// Layers without attention.
  private var recurs: Set<Int> = []
  /// Layers that take what an earlier one's sparse indexer kept.
  private(set) var unindexed: Set<Int> = []

  var made: GGUFClassTraits { layout.family.gguf.made }
  var hidden: Int { layout.hiddenSize }

  package static func list(
    _ layout: ModelLayout, _ checkpoint: GGUFCheckpoint
  ) throws(RegateError) -> [Parameter] {
    var reader = try GGUFParameters(layout, checkpoint)
    reader.readWhole()
    for layer in 0..<layout.layerCount { try reader.readLayer(layer, isOptional: false) }
    try reader.readPrediction()
    return reader.parameters
  }

  private init(_ layout: ModelLayout, _ checkpoint: GGUFCheckpoint) throws(RegateError) {
    self.layout = layout
    self.checkpoint = checkpoint
    var settings = Settings(gguf: checkpoint)
    sizes = try GGUFSizes(layout, &settings, vocabulary: Self.vocabulary(checkpoint))
    if case .hybrid(let delta, _) = layout.family.mixer {
      let attends = try delta.attentionLayers(count: layout.layerCount, &settings, isGGUF: true)
      recurs = Set(attends.indices.filter { !attends[$0] })
    }
    if case .latent(let latent) = layout.family.mixer, latent.indexer?.isShared == true {
      unindexed = try SparseIndexer.ggufSharing(count: layout.layerCount, &settings)
    }
    if let global = layout.family.mixer?.groupedQuery?.global {
      let key = Key("attention.shared_kv_layers", default: 0)
      let shared = try settings.required(key)
      guard layout.layerCount - shared >= 2 else {
        throw settings.mismatch(
          key.names[0],
          "is \(shared), but llama.cpp stops unless two layers have keys of their own")
      }
      attention = try global.ggufLayers(
        count: layout.layerCount, hiddenSize: layout.hiddenSize, heads: sizes.heads, &settings
      ) { layer in
        ["attn_v", "attn_qkv"].contains { checkpoint.tensors["blk.\(layer).\($0).weight"] != nil }
      }
    }
    self.settings = settings
  }

  /// The number of tokens; of a file without any, what it says instead.
  private static func vocabulary(_ checkpoint: GGUFCheckpoint) -> Int {
    let tokens = checkpoint.metadata["tokenizer.ggml.tokens"]?.array?.count
    let stated = checkpoint.metadata["\(checkpoint.architecture).vocab_size"]?.integer
    return tokens ?? stated ?? 0
  }

  mutating func add(_ name: String, _ shape: [Int], isOptional: Bool = false) {
    parameters.append(Parameter(name, shape, isOptional: isOptional))
  }

  mutating func add(_ forms: [[Parameter.Piece]], isOptional: Bool) {
    parameters.append(Parameter(forms, isOptional: isOptional))
  }

  mutating func add(
    _ name: String, _ shape: [Int], _ presence: GGUFClassTraits.Presence, isOptional: Bool = false
  ) {
    guard presence != .absent else { return }
    add(name, shape, isOptional: isOptional || presence == .optional)
  }

  mutating func addNorm(_ name: String, isOptional: Bool = false) {
    add(name + ".weight", [hidden], isOptional: isOptional)
    if made.normBiases { add(name + ".bias", [hidden], isOptional: isOptional) }
  }

  private mutating func readWhole() {
    add("token_embd.weight", [sizes.vocabulary, hidden])
    add("output.weight", [sizes.vocabulary, hidden], made.output)
    addScales("output")
    if made.outputBias { add("output.bias", [sizes.vocabulary]) }
    addNorm("output_norm")
    if layout.family.layerForm == .branched, sizes.inputWidth > 0 { readInputs() }
    let factors = [sizes.rotated / 2]
    let isLong = settings.text(of: "rope.scaling.type") == "longrope"
    switch made.rotationFactors {
    case .none: return
    case .required:
      // The first such layer's stands for all.
      guard let layer = attention.first(where: \.isGlobal) else { return }
      add("rope_freqs.weight", [layer.headSize / 2])
    case .byScaling where !isLong: add("rope_freqs.weight", factors, isOptional: true)
    case .byScaling, .longRope:
      add("rope_factors_long.weight", factors, isOptional: true)
      add("rope_factors_short.weight", factors, isOptional: true)
    }
  }

  /// Scales of quantised matrices, for every architecture.
  mutating func addScales(_ stem: String, _ shape: [Int] = [1]) {
    add(stem + ".scale", shape, isOptional: true)
    add(stem + ".input_scale", shape, isOptional: true)
  }

  mutating func addMatrix(
    _ stem: String, _ rows: Int, _ columns: Int, isOptional: Bool = false
  ) {
    add(stem + ".weight", [rows, columns], isOptional: isOptional)
    addScales(stem)
  }

  private mutating func readLayer(_ index: Int, isOptional: Bool) throws(RegateError) {
    let prefix = "blk.\(index)."
    addNorm(prefix + "attn_norm", isOptional: isOptional)
    addNorm(prefix + layout.family.gguf.feedForwardNorm, isOptional: isOptional)
    if layout.family.layerForm == .branched { readBranches(prefix) }
    switch layout.family.mixer {
    case .latent: readLatent(index, isOptional: isOptional)
    case .hybrid(let delta, _) where recurs.contains(index): readDelta(delta, prefix)
    case _ where !attention.isEmpty: readAttention(prefix, attention[index])
    default: readAttention(prefix, isOptional: isOptional)
    }
    if made.hasDenseLayers, index < sizes.denseLayers {
      readDense(prefix, isOptional: isOptional)
    } else {
      readExperts(prefix, isOptional: isOptional)
    }
  }

  /// Layers for multi-token prediction; none has to be there where the first projects nothing.
  private mutating func readPrediction() throws(RegateError) {
    guard made.predicts, sizes.predictionLayers > 0 else { return }
    let first = "blk.\(layout.layerCount).nextn.eh_proj.weight"
    let isOptional = checkpoint.tensors[first] == nil
    for index in layout.layerCount..<layout.layerCount + sizes.predictionLayers {
      try readLayer(index, isOptional: isOptional)
      let prefix = "blk.\(index).nextn."
      addMatrix(prefix + "eh_proj", hidden, 2 * hidden, isOptional: isOptional)
      add(prefix + "enorm.weight", [hidden], isOptional: isOptional)
      add(prefix + "hnorm.weight", [hidden], isOptional: isOptional)
      add(prefix + "embed_tokens.weight", [sizes.vocabulary, hidden], isOptional: true)
      add(prefix + "shared_head_head.weight", [sizes.vocabulary, hidden], isOptional: true)
      add(prefix + "shared_head_norm.weight", [hidden], isOptional: true)
    }
  }
}
