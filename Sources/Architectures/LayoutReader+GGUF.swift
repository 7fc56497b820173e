// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing

extension LayoutReader {
  /// Reads GGUF metadata as llama.cpp does.
  init(gguf checkpoint: GGUFCheckpoint) throws(RegateError) {
    let family = try Family.find(in: checkpoint)
    let traits = family.gguf
    var settings = Settings(gguf: checkpoint)

    hiddenSize = try settings.required(Key("embedding_length", default: nil), minimum: 1)
    let nextn = try settings.required(Key("nextn_predict_layers", default: 0))
    let blocks = try settings.required(Key("block_count", default: nil))
    layerCount = try Self.checkedLayerCount(blocks - nextn, "block_count", settings)
    mtpLayers = nextn
    experts = try settings.required(Key("expert_count", default: nil), minimum: 1)
    let topKKey = Key<Int>("expert_used_count", default: nil)
    guard let topK = try settings.perLayer(topKKey) else { throw settings.missing(topKKey) }
    try Self.requireAlike(topK, topKKey.names[0], family, settings)
    let tensors = LayerTensors(checkpoint, names: .gguf(branched: family.layerForm == .branched))
    moeLayers = try traits.sparsity.layers(
      count: layerCount, settings: &settings, isStored: tensors.hasExperts)
    try Self.checkTopK(topK, of: moeLayers, experts: experts, key: topKKey.names[0], settings)
    let largest = moeLayers.compactMap { topK[$0] }.max() ?? 1
    expertWidth = try Self.expertWidth(family, topK: largest, &settings)
    sharedExperts = try settings.integer(Key("expert_shared_count", default: nil))
    try Self.checkGroups(experts: experts, &settings)
    rule = try traits.routing.rule(
      experts: experts, topK: largest, settings: &settings,
      scoringForAbsentKey: traits.impliedScoring?(checkpoint))
    activation = try family.activation.gated(&settings, isGGUF: true)
    expertInputs =
      try traits.latentSize.flatMap { key throws(RegateError) in
        try settings.integer(key)
      }.flatMap { $0 > 0 ? $0 : nil } ?? hiddenSize
    var subject = CaveatSubject(
      family: family, rule: rule, moeLayers: moeLayers.count, layerCount: layerCount,
      settings: settings)
    containerWarnings = try Self.ggufWarnings(&subject)
    settings = subject.settings

    self.checkpoint = checkpoint
    self.family = family
    self.settings = settings
    config = nil
    self.topK = topK
    routing = traits.routing
    selectionBias = traits.selectionBias
    gateBias = traits.gateBias
    expertBiases = traits.made.expertBiases
    prototypeForm = nil
    officialLatentSize = nil
    mlxQuantisation = nil
    self.tensors = tensors
    quantisation = .none
    hiddenActivation = family.activation.named?.name ?? ""
    try Self.checkStacked(checkpoint)
  }

  private static func expertWidth(
    _ family: Family, topK: Int, _ settings: inout Settings
  ) throws(RegateError) -> PerLayer {
    let traits = family.gguf
    let key = Key<Int>("expert_feed_forward_length", default: nil)
    let fallback = Key<Int>("feed_forward_length", default: nil)
    if traits.expertWidth != .feedForward, settings.has(key.names[0]),
      let width = try settings.perLayer(key)
    {
      try requireAlike(width, key.names[0], family, settings)
      return width
    }
    guard traits.expertWidth != .own else { throw settings.missing(key) }
    guard let width = try settings.perLayer(fallback) else { throw settings.missing(fallback) }
    try requireAlike(width, fallback.names[0], family, settings)
    guard traits.expertWidth == .ownOrFeedForwardOverTopK else { return width }
    switch width {
    case .all(let value): return .all(value / topK)
    case .each(let values): return .each(values.map { $0 / topK })
    }
  }

  /// llama.cpp reads a list of these for every architecture, but has the first number choose, weigh
  /// and size the experts of all layers; of those chosen, a layer adds up as many as its own says.
  private static func requireAlike(
    _ value: PerLayer, _ key: String, _ family: Family, _ settings: Settings
  ) throws(RegateError) {
    guard !family.gguf.countsByLayer, case .each(let values) = value,
      values.contains(where: { $0 != values[0] })
    else { return }
    throw settings.mismatch(
      key,
      "differs from layer to layer, but llama.cpp takes the first layer's for all layers of"
        + " \(family.title)")
  }

  /// What llama.cpp asserts about expert counts and groups, beyond what every rule needs.
  private static func checkGroups(
    experts: Int, _ settings: inout Settings
  ) throws(RegateError) {
    let count = try settings.required(Key("expert_group_count", default: 0))
    let kept = try settings.required(Key("expert_group_used_count", default: 0))
    // LLAMA_MAX_EXPERTS.
    guard experts <= 1024 else {
      throw settings.mismatch("expert_count", "is \(experts), llama.cpp stops above 1024 experts")
    }
    guard count <= 1 || kept < count else {
      throw settings.mismatch(
        "expert_group_used_count",
        "is \(kept) of \(count) groups; llama.cpp stops unless it is smaller",
        advice: "remove both group keys to route without groups")
    }
  }

  private static func checkStacked(_ checkpoint: GGUFCheckpoint) throws(RegateError) {
    for name in checkpoint.tensors.keys where name.hasPrefix("blk.") {
      let relative = name.drop { $0 != "." }.dropFirst().drop { $0 != "." }.dropFirst()
      guard GGUFNames.isSplitExpert(String(relative)) else { continue }
      throw RegateError(
        .unsupported, file: checkpoint.path, subject: name,
        "stores one tensor per expert, a form of early 2024 that llama.cpp no longer loads",
        advice: "convert the model again with a current llama.cpp")
    }
  }
}
