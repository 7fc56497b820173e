// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections

/// How a container names a layer's tensors.
enum Naming {
  case huggingFace(TensorNames)
  /// `branched` is whether the layers are (`LayerForm`).
  case gguf(branched: Bool)

  func role(of name: String) -> TensorRole {
    switch self {
    case .huggingFace(let names): names.role(of: name)
    case .gguf(let branched): GGUFNames.role(of: name, branched: branched)
    }
  }

  /// The published names of what some families' routers and experts have beside the others' parts.
  var routerScale: String? {
    switch self {
    case .huggingFace(let names): names.routerScale.first
    case .gguf(let branched): branched ? GGUFNames.routerScale : nil
    }
  }

  var expertNorm: String? {
    switch self {
    case .huggingFace(let names): names.expertNorm.first
    case .gguf(let branched): branched ? GGUFNames.expertNorm : nil
    }
  }

  /// llama.cpp takes 1 for what is not there.
  var requiredOutputScale: String? {
    if case .huggingFace(let names) = self { names.outputScale.first } else { nil }
  }

  /// Whether `name` is a router gate; cheaper than its role.
  func isGate(_ name: String) -> Bool {
    switch self {
    case .huggingFace(let names): names.gate.contains(name)
    case .gguf: name == GGUFNames.gate
    }
  }

  /// The published name of the router gate.
  var gate: String {
    switch self {
    case .huggingFace(let names): names.gate[0]
    case .gguf: GGUFNames.gate
    }
  }

  var gateBias: String {
    switch self {
    case .huggingFace(let names): names.gateBias.first ?? "router bias"
    case .gguf: GGUFNames.gateBias
    }
  }

  var selectionBias: String {
    switch self {
    case .huggingFace(let names): names.selectionBias.first ?? "selection bias"
    case .gguf: GGUFNames.selectionBias
    }
  }

  /// The published name of the bias of an expert's matrix.
  func bias(_ role: ExpertPart.Role, expert: Int) -> String {
    guard case .huggingFace = self else { return GGUFNames.stem(of: role) + ".bias" }
    return weight(role, expert: expert).replacing(".weight", with: "") + "_bias"
  }

  /// The published name of an expert's matrix, for errors about absent ones.
  func weight(_ role: ExpertPart.Role, expert: Int) -> String {
    guard case .huggingFace(let names) = self else { return GGUFNames.stem(of: role) + ".weight" }
    let container = names.containers[0]
    let word =
      switch (names.published, role) {
      case (.numbered, .gate): "w1"
      case (.numbered, .up): "w3"
      case (.numbered, .down): "w2"
      case (_, .down): "down_proj"
      case (_, .up): "up_proj"
      case (_, .gateUp): "gate_up_proj"
      case (_, .gate), (_, .other): "gate_proj"
      }
    if case .fused = names.published {
      return names.fused.first { $0.value == role }.map { $0.key + ".weight" }
        ?? "\(container).\(word)"
    }
    return "\(container).\(expert).\(word).weight"
  }

  /// What names a layer: `layers.{n}.` or `blk.{n}.`.
  var layerWord: String {
    if case .gguf = self { "blk" } else { "layers" }
  }
}

/// A checkpoint's tensors by layer.
struct LayerTensors {
  let names: Naming
  /// What precedes `layers.{n}.` or `blk.{n}.`.
  let prefix: String
  private let layers: [Int: [(name: String, tensor: TensorInfo)]]
  /// Routers under other prefixes.
  private let strays: [ExtraRouter]

  /// Multimodal wrappers put the language model's tensors under a prefix of their own.
  private static let knownPrefixes = [
    "model.", "model.language_model.", "language_model.model.", "language_model.",
    "thinker.model.", "",
  ]

  init(_ checkpoint: any Checkpoint, names: Naming) {
    var prefixes: [String: [Int: [(name: String, tensor: TensorInfo)]]] = [:]
    var gates: [String: [ExtraRouter]] = [:]
    for (name, tensor) in checkpoint.tensors {
      guard let (prefix, layer, rest) = Self.split(name, names.layerWord) else { continue }
      prefixes[prefix, default: [:]][layer, default: []].append((rest, tensor))
      if names.isGate(rest) {
        let layer = "\(prefix)\(names.layerWord).\(layer)."
        gates[prefix, default: []].append(ExtraRouter(layer: layer, index: nil, gate: tensor))
      }
    }
    let fallback = names.layerWord == "blk" ? "" : "model."
    let prefix =
      Self.knownPrefixes.first { gates[$0] != nil }
      ?? gates.max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }?.key
      ?? Self.knownPrefixes.first { prefixes[$0] != nil }
      ?? prefixes.max { ($0.value.count, $1.key) < ($1.value.count, $0.key) }?.key ?? fallback
    self.names = names
    self.prefix = prefix
    layers = prefixes[prefix] ?? [:]
    strays = gates.filter { $0.key != prefix }.values.flatMap { $0 }
      .sorted { $0.gate.name < $1.gate.name }
  }

  /// `model.layers.3.mlp.gate.weight` into `model.`, 3 and `mlp.gate.weight`.
  private static func split(
    _ name: String, _ word: String
  ) -> (prefix: String, layer: Int, rest: String)? {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard let place = parts.firstIndex(where: { $0 == word }), place + 2 < parts.count,
      let layer = TensorNames.index(parts[place + 1])
    else { return nil }
    return (
      String(name[..<parts[place].startIndex]), layer,
      String(name[parts[place + 2].startIndex...])
    )
  }

  func layerName(_ index: Int) -> String { "\(prefix)\(names.layerWord).\(index)." }

  func tensors(of layer: Int) -> [(name: String, tensor: TensorInfo)] { layers[layer] ?? [] }

  /// Whether a router or experts are stored of `layer`.
  func hasExperts(_ layer: Int) -> Bool {
    tensors(of: layer).contains { name, _ in
      switch names.role(of: name) {
      case .gate, .expert, .fused: true
      default: false
      }
    }
  }

  /// The table by which `layer` chooses experts; nil where it has none.
  func table(of layer: Int) -> TensorInfo? {
    tensors(of: layer).first { names.role(of: $0.name) == .table }?.tensor
  }

  func gate(of layer: Int) -> TensorInfo? {
    tensors(of: layer).first { names.isGate($0.name) }?.tensor
  }

  /// Routers of layers from `count` on, `surplus` ones left out, and under other prefixes.
  func extraRouters(beyond count: Int, butNot surplus: [Int]) -> [ExtraRouter] {
    layers.keys.filter { $0 >= count && !surplus.contains($0) }.sorted().compactMap { layer in
      gate(of: layer).map { ExtraRouter(layer: layerName(layer), index: layer, gate: $0) }
    } + strays
  }

  /// Layers from `count` on that are not for multi-token prediction: more than the configuration
  /// says. Those for prediction project a token's embedding and hidden state (`eh_proj`); where
  /// none does, they are the last of as many as there should be.
  func surplus(beyond count: Int, mtpLayers: Int?) -> [Int] {
    let beyond = layers.keys.filter { $0 >= count }.sorted()
    let predicting = beyond.filter { layer in
      tensors(of: layer).contains { $0.name.hasSuffix("eh_proj.weight") }
    }
    return predicting.isEmpty
      ? beyond.dropLast(mtpLayers ?? 0) : beyond.filter { !predicting.contains($0) }
  }
}
