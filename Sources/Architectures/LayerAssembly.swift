// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors

/// Gathers one layer's tensors by role and verifies them against the configuration.
struct LayerAssembly {
  let reader: LayoutReader
  let index: Int
  private var gates: [TensorInfo] = []
  private var gateBiases: [TensorInfo] = []
  private var selectionBiases: [TensorInfo] = []
  private var gateCompanions: [TensorInfo] = []
  private var routerScales: [TensorInfo] = []
  private var expertNorms: [TensorInfo] = []
  private var shared: [TensorInfo] = []
  private var parts = ExpertParts()
  /// Of gates with scales beside them.
  private static let scaledTypes: [ElementType] = [
    .f8e4m3, .f8e5m2, .f8e4m3fnuz, .f8e5m2fnuz, .i8, .u8,
  ]

  /// What this layer adds to the checkpoint's warnings.
  private(set) var warnings: [String] = []

  init(_ reader: LayoutReader, layer: Int) {
    self.reader = reader
    index = layer
    for (name, tensor) in reader.tensors.tensors(of: layer) {
      switch reader.tensors.names.role(of: name) {
      case .gate: gates.append(tensor)
      case .gateBias: gateBiases.append(tensor)
      case .selectionBias: selectionBiases.append(tensor)
      case .routerScale: routerScales.append(tensor)
      case .expertNorm: expertNorms.append(tensor)
      case .outputScale:
        parts.add(
          tensor, expert: nil, stem: name, suffix: "", role: .down, kind: .outputScale)
      case .gateCompanion: gateCompanions.append(tensor)
      // Shared experts of no width are none.
      case .shared: if !tensor.shape.contains(0) { shared.append(tensor) }
      case .table, .unrelated: break
      case .expert(let expert, let stem, let suffix, let role):
        parts.add(tensor, expert: expert, stem: stem, suffix: suffix, role: role)
      case .fused(let stem, let suffix, let role):
        parts.add(tensor, expert: nil, stem: stem, suffix: suffix, role: role)
      }
    }
    warnings = ignoredTensors()
  }

  func layer() throws(RegateError) -> MoELayer {
    let (gate, form) = try checkedGate()
    guard let width = reader.expertWidth[index], width > 0 else {
      throw reader.settings.mismatch("expert width", "has no value above 0 for layer \(index)")
    }
    var rule = reader.rule
    rule.topK = reader.topK[index] ?? rule.topK
    let names = reader.tensors
    let finder = ExpertParts.Finder(
      file: reader.checkpoint.path, layerName: names.layerName(index), names: names.names,
      experts: reader.experts, inputs: reader.expertInputs,
      isProjected: reader.expertInputs != reader.hiddenSize, width: width,
      isGated: reader.family.activation.isGated, biases: reader.expertBiases,
      outputScale: reader.tensors.names.requiredOutputScale)
    let found = try parts.verified(finder)
    return MoELayer(
      index: index, rule: rule, hiddenSize: reader.hiddenSize,
      expertInputs: reader.expertInputs, expertWidth: width,
      activation: reader.family.activation, gate: gate, gateForm: form,
      gateBias: try checkedGateBias(),
      selectionBias: reader.selectionBias == .ignored ? nil : try checkedBias(selectionBiases),
      routerInput: try checkedInput(), experts: found.parts,
      common: found.common,
      sharedExperts: reader.sharedExperts ?? (shared.isEmpty ? 0 : 1), shared: shared,
      unplaced: found.unplaced)
  }

  private func checkedGate() throws(RegateError) -> (TensorInfo, GateForm) {
    let file = reader.checkpoint.path
    let name = reader.tensors.layerName(index) + reader.tensors.names.gate
    guard let gate = gates.first else {
      // Of what stands for the gate, what holds its values says most.
      if let piece = gateCompanions.first(where: { $0.name.contains("weight_packed") })
        ?? gateCompanions.first
      {
        throw quantisedRouter(piece)
      }
      throw RegateError(
        .missing, file: file, subject: name,
        "no such tensor, but \(reader.settings.file) makes layer \(index) an MoE layer",
        advice: "check that all its files are there and that the configuration is its own")
    }
    guard gates.count == 1 else {
      throw RegateError(
        .mismatch, file: file, subject: gate.name,
        "the layer has a second router, \(gates[1].name)", advice: "remove one of them")
    }
    if let config = reader.mlxQuantisation, gate.type == .u32 {
      return (
        gate,
        .mlx(
          try AffineQuantisation(
            config, weight: gate, companions: gateCompanions, rows: reader.experts,
            columns: reader.hiddenSize, file: file))
      )
    }
    // A block of a GGUF type holds its own scales; other small types need tensors beside them.
    let isPlain = gate.type.isRealNumber || gate.type.isQuantised && gateBeside.isEmpty
    guard isPlain || Self.scaledTypes.contains(gate.type), TensorDecoder.supports(gate.type) else {
      throw quantisedRouter(gate)
    }
    let weight = try StoredWeight(
      TensorSlice(gate), suffix: "weight", beside: gateBeside, in: reader.checkpoint,
      scheme: reader.quantisation)
    guard isPlain || weight.scale != nil else { throw quantisedRouter(gate) }
    if let size = reader.officialLatentSize {
      try check(
        gate, [[2 * size, reader.hiddenSize]], "[2 x \(OfficialForm.latentSizeKey), hidden size]")
    } else if let form = reader.prototypeForm {
      let outputs = form.encoder == .gaussian ? 2 : 1
      try check(
        gate,
        (1...form.similarity.largestSize(experts: reader.experts)).map {
          [reader.hiddenSize, outputs * $0]
        }, "[hidden size, \(outputs == 2 ? "2 x " : "")latent size]")
    } else {
      try check(
        gate, [[reader.experts, reader.hiddenSize]], "[experts, hidden size]", as: weight.shape)
    }
    return (gate, .weight(weight))
  }

  /// What stands beside the gate, without what no runtime reads. All that a router of ours has is
  /// its own.
  private var gateBeside: [StoredWeight.Beside] {
    guard reader.prototypeForm == nil else { return [] }
    return gateCompanions.compactMap { tensor in
      guard let suffix = gateSuffix(tensor), Companion(suffix: suffix) != .unknown else {
        return nil
      }
      return (suffix, TensorSlice(tensor))
    }
  }

  /// What follows the gate's module in the name; nil for what is elsewhere.
  private func gateSuffix(_ tensor: TensorInfo) -> String? {
    guard let module = gates.first?.name.dropLast("weight".count) else { return nil }
    return tensor.name.hasPrefix(module) ? String(tensor.name.dropFirst(module.count)) : nil
  }

  private func quantisedRouter(_ tensor: TensorInfo) -> RegateError {
    let method = reader.quantisation.method.map { " by \($0)" } ?? ""
    let companion = gateCompanions.first.map {
      ", with \($0.name.dropFirst(reader.tensors.layerName(index).count)) beside it"
    }
    return RegateError(
      .unsupported, file: reader.checkpoint.path, subject: tensor.name,
      "the router is quantised\(method) (\(tensor.type.rawValue)\(companion ?? "")), expected"
        + " F64, F32, F16, BF16 or a block type of GGUF",
      advice: "use a checkpoint whose router was left unquantised")
  }

  /// Nothing where no runtime reads one: a prototype router has its own in the original's place.
  private func checkedGateBias() throws(RegateError) -> TensorInfo? {
    guard reader.gateBias, reader.prototypeForm == nil else { return nil }
    if let bias = try checkedBias(gateBiases, shapes: [[reader.experts]]) { return bias }
    throw RegateError(
      .missing, file: reader.checkpoint.path,
      subject: reader.tensors.layerName(index) + reader.tensors.names.gateBias,
      "no such tensor, but the routers of \(reader.family.title) have one",
      advice: "check that all files of the checkpoint are there: a runtime may start it with random"
        + " values")
  }

  /// Nothing where experts read what the router does.
  private func checkedInput() throws(RegateError) -> RouterInput? {
    let names = reader.tensors.names
    guard let scaleName = names.routerScale, let normName = names.expertNorm else { return nil }
    return RouterInput(
      scale: try checkedVector(routerScales, scaleName),
      expertNorm: try checkedVector(expertNorms, normName))
  }

  private func checkedVector(
    _ tensors: [TensorInfo], _ name: String
  ) throws(RegateError) -> TensorInfo {
    guard let tensor = tensors.first else {
      throw RegateError(
        .missing, file: reader.checkpoint.path, subject: reader.tensors.layerName(index) + name,
        "no such tensor, but the layers of \(reader.family.title) have one",
        advice: "check that all files of the checkpoint are there: a runtime may start it with its"
          + " own values")
    }
    guard tensor.type.isRealNumber else {
      throw RegateError(
        .unsupported, file: reader.checkpoint.path, subject: tensor.name,
        "is \(tensor.type.rawValue), expected F64, F32, F16 or BF16")
    }
    try check(tensor, [[reader.hiddenSize]], "one value for each of the hidden size")
    return tensor
  }

  private func checkedBias(
    _ tensors: [TensorInfo], shapes: [[Int]]? = nil
  ) throws(RegateError) -> TensorInfo? {
    guard let bias = tensors.first else { return nil }
    guard tensors.count == 1 else {
      throw RegateError(
        .mismatch, file: reader.checkpoint.path, subject: bias.name,
        "the layer has a second bias, \(tensors[1].name)", advice: "remove one of them")
    }
    guard bias.type.isRealNumber else {
      throw RegateError(
        .unsupported, file: reader.checkpoint.path, subject: bias.name,
        "is \(bias.type.rawValue), expected F64, F32, F16 or BF16")
    }
    try check(
      bias, shapes ?? [[reader.experts], [1, reader.experts]], "one value per expert")
    return bias
  }

  private func check(
    _ tensor: TensorInfo, _ shapes: [[Int]], _ meaning: String, as shape: [Int]? = nil
  ) throws(RegateError) {
    guard !shapes.contains(shape ?? tensor.shape) else { return }
    throw RegateError(
      .mismatch, file: reader.checkpoint.path, subject: tensor.name,
      "has shape \(tensor.shape), expected \(shapes[0]), \(meaning), by \(reader.settings.file)"
        + assumedSizes)
  }

  /// Sizes that `config.json` leaves to transformers' class, in words.
  private var assumedSizes: String {
    let names = ["hidden_size", reader.family.huggingFace.experts.names[0]]
    let assumed = names.compactMap { reader.settings.read[reader.settings.scope + $0] }
      .filter(\.isDefault)
    return assumed.map { ": \($0.key) is absent there, for which transformers takes \($0.value)" }
      .joined()
  }

  /// Router tensors that the runtimes of this container do not read.
  private func ignoredTensors() -> [String] {
    if reader.prototypeForm != nil { return [] }
    var ignored = reader.selectionBias == .ignored ? selectionBiases : []
    if !reader.gateBias { ignored += gateBiases }
    // What belongs to a quantised gate is read with it.
    if reader.mlxQuantisation == nil {
      ignored += gateCompanions.filter { tensor in
        gateSuffix(tensor).map { Companion(suffix: $0) == .unknown } ?? true
      }
    }
    let gguf = reader.checkpoint.container == .gguf
    return ignored.map { tensor in
      let word = tensor.name.dropFirst(reader.tensors.layerName(index).count)
      return gguf
        ? "\(word): llama.cpp refuses a \(reader.family.title) file that has this tensor"
        : "\(word): transformers ignores this tensor of \(reader.family.title), and so does Regate"
    }
  }
}
