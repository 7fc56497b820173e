// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors

/// A checkpoint's layout in the making: configuration first (`+Safetensors`, `+GGUF`), then the
/// same verification for both containers.
struct LayoutReader {
  let checkpoint: any Checkpoint
  let family: Family
  let settings: Settings
  /// The object of `config.json` that `settings` are in, as it is written; nil for GGUF.
  let config: JSONValue?
  let hiddenSize: Int
  let layerCount: Int
  /// E.
  let experts: Int
  /// K, for each layer.
  let topK: PerLayer
  /// I, for each layer; nil: whatever the tensors say.
  let expertWidth: PerLayer
  let sharedExperts: Int?
  /// Layers for multi-token prediction after the model's own; nil: the family has none.
  let mtpLayers: Int?
  let moeLayers: [Int]
  /// The rule of all layers, but for K.
  let rule: RoutingRule
  let routing: RoutingTraits
  let selectionBias: BiasSupport
  let gateBias: Bool
  /// Nil where Regate does not compute what the experts do.
  let activation: GatedActivation?
  /// The width of what the experts read and write: H, unless they lie between two projections.
  let expertInputs: Int
  /// Whether every matrix of an expert has a bias.
  let expertBiases: Bool
  let prototypeForm: LatentForm?
  /// R of routers of the official LPR code; nil for others.
  let officialLatentSize: Int?
  let tensors: LayerTensors
  let quantisation: QuantisationScheme
  /// MLX's `quantization` object.
  let mlxQuantisation: JSONValue?
  /// What the configuration names; llama.cpp has it in its code.
  let hiddenActivation: String
  let containerWarnings: [String]

  /// Deepest model that is believed: llama.cpp's LLAMA_MAX_LAYERS is 512.
  static let layerLimit = 4096

  func read(mtp: Bool) throws(RegateError) -> ModelLayout {
    let tables = try tableLayers()
    var layers: [MoELayer] = []
    var warnings = containerWarnings
    let surplus = tensors.surplus(beyond: layerCount, mtpLayers: mtpLayers)
    let extra = tensors.extraRouters(beyond: layerCount, butNot: surplus)
    let included = mtp ? extra.compactMap(\.index) : []
    warnings += surplusWarning(surplus) + tableWarning(tables)
    guard !mtp || !included.isEmpty else {
      throw RegateError(
        .missing, file: checkpoint.path, subject: "`mtp`",
        "no layer from \(layerCount) on has a router for multi-token prediction",
        advice: "leave `mtp` out")
    }
    for index in moeLayers + included {
      let assembly = LayerAssembly(self, layer: index)
      layers.append(try assembly.layer())
      warnings += assembly.warnings.filter { !warnings.contains($0) }
    }
    try checkBiases(layers)
    if selectionBias == .expected, layers.allSatisfy({ $0.selectionBias == nil }) {
      warnings.append(
        "no layer has \(tensors.names.selectionBias): transformers starts it at zero")
    }
    return ModelLayout(
      family: family, container: checkpoint.container, hiddenSize: hiddenSize,
      layerCount: layerCount, activation: activation, layers: layers, tableLayers: tables,
      extraRouters: mtp ? extra.filter { $0.index == nil } : extra,
      warnings: warnings + tensorWarnings(layers), settings: Array(settings.read.values),
      config: config, prefix: tensors.prefix, quantisation: quantisation,
      prototypeForm: prototypeForm,
      hasOfficialRouter: officialLatentSize != nil,
      computesExperts: uncomputed == nil, undecodable: undecodable(layers))
  }

  private func surplusWarning(_ surplus: [Int]) -> [String] {
    guard let first = surplus.first, let last = surplus.last else { return [] }
    let isGGUF = checkpoint.container == .gguf
    let key = settings.scope + (isGGUF ? "block_count" : "num_hidden_layers")
    let names = [first, last].map { tensors.layerName($0).dropLast() }
    return [
      "\(key) says \(layerCount) layers, and \(surplus.count) more are stored ("
        + (first == last ? "\(names[0])" : "\(names[0]) to \(names[1])")
        + "): they are left out"
        + (isGGUF ? ", and llama.cpp does not load such a file" : ", as transformers does")
    ]
  }

  /// The layers beside the MoE ones whose experts a table chooses. A router in one without a table
  /// is an error: the configuration makes it a dense layer.
  private func tableLayers() throws(RegateError) -> [Int] {
    guard !moeLayers.isEmpty else {
      throw RegateError(
        .mismatch, file: settings.file, "the configuration makes all \(layerCount) layers dense")
    }
    let sparse = Set(moeLayers)
    var found: [Int] = []
    for index in 0..<layerCount where !sparse.contains(index) {
      guard tensors.table(of: index) == nil else {
        found.append(index)
        continue
      }
      guard let gate = tensors.gate(of: index) else { continue }
      let kind = family.huggingFace.names.tables.isEmpty ? "dense layer" : "layer with a table"
      throw RegateError(
        .mismatch, file: checkpoint.path, subject: gate.name,
        "layer \(index) has a router, but \(settings.file) makes it a \(kind)")
    }
    return found
  }

  private func tableWarning(_ layers: [Int]) -> [String] {
    guard let first = layers.first, let table = tensors.table(of: first) else { return [] }
    let numbers = layers.map(String.init).joined(separator: ", ")
    return [
      "layer\(layers.count == 1 ? "" : "s") \(numbers): a table of token ids chooses the experts"
        + " (\(table.name) and its like), not the router, which weighs them alone; Regate leaves such"
        + " layers as they are. An edit of the table could send a token to a copy of its expert, with"
        + " the same row of the router, and so even out a known traffic without any change of output"
    ]
  }

  /// A selection bias must be in all layers or in none.
  private func checkBiases(_ layers: [MoELayer]) throws(RegateError) {
    let without = layers.filter { $0.selectionBias == nil }
    guard let first = without.first else { return }
    let required = selectionBias == .expected && checkpoint.container == .gguf
    guard without.count < layers.count || required else { return }
    let name = tensors.layerName(first.index) + tensors.names.selectionBias
    throw RegateError(
      .missing, file: checkpoint.path, subject: name,
      required
        ? "no such tensor, and llama.cpp does not load \(family.title) without it"
        : "no such tensor, but other layers have one",
      advice: "check that all files of the checkpoint are there, or make it anew")
  }

  static func checkedLayerCount(
    _ count: Int, _ key: String, _ settings: Settings
  ) throws(RegateError) -> Int {
    guard count > 0, count <= layerLimit else {
      throw settings.mismatch(key, "is \(count), expected 1 to \(layerLimit) layers")
    }
    return count
  }

  static func checkTopK(
    _ topK: PerLayer, of layers: [Int], experts: Int, key: String, _ settings: Settings
  ) throws(RegateError) {
    for layer in layers {
      guard let value = topK[layer] else {
        throw settings.mismatch(key, "has no value for layer \(layer)")
      }
      guard value > 0, value <= experts else {
        throw settings.mismatch(
          key, "is \(value) for layer \(layer), expected 1 to \(experts), the number of experts")
      }
    }
  }
}
