// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
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
  private var shared: [TensorInfo] = []
  private var parts = ExpertParts()
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
      case .gateCompanion: gateCompanions.append(tensor)
      case .shared: shared.append(tensor)
      case .unrelated: break
      case .expert(let expert, let stem, let suffix, let role):
        parts.add(tensor, expert: expert, stem: stem, suffix: suffix, role: role)
      case .fused(let stem, let suffix, let role):
        parts.add(tensor, expert: nil, stem: stem, suffix: suffix, role: role)
      }
    }
    warnings = ignoredTensors()
  }

  func layer() throws(RegateError) -> MoELayer {
    let (gate, quantisation) = try checkedGate()
    guard let width = reader.expertWidth[index], width > 0 else {
      throw reader.settings.mismatch("expert width", "has no value above 0 for layer \(index)")
    }
    var rule = reader.rule
    rule.topK = reader.topK[index] ?? rule.topK
    let names = reader.tensors
    let finder = ExpertParts.Finder(
      file: reader.checkpoint.path, layerName: names.layerName(index), names: names.names,
      experts: reader.experts, hiddenSize: reader.hiddenSize, width: width)
    let (experts, unplaced) = try parts.verified(finder)
    let logitsType: ElementType
    switch reader.routing.logits {
    case .routerType: logitsType = [.f16, .bf16].contains(gate.type) ? gate.type : .f32
    case .float32: logitsType = .f32
    }
    return MoELayer(
      index: index, rule: rule, hiddenSize: reader.hiddenSize, expertWidth: width,
      activation: reader.family.activation, gate: gate, gateQuantisation: quantisation,
      gateBias: reader.gateBias ? try checkedBias(gateBiases) : nil,
      selectionBias: reader.selectionBias == .ignored ? nil : try checkedBias(selectionBiases),
      logitsType: logitsType, experts: experts,
      sharedExperts: reader.sharedExperts ?? (shared.isEmpty ? 0 : 1), shared: shared,
      unplaced: unplaced)
  }

  private func checkedGate() throws(RegateError) -> (TensorInfo, AffineQuantisation?) {
    let file = reader.checkpoint.path
    let name = reader.tensors.layerName(index) + reader.tensors.names.gate
    guard let gate = gates.first else {
      if let companion = gateCompanions.first {
        throw quantisedRouter(companion)
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
        try AffineQuantisation(
          config, weight: gate, companions: gateCompanions, rows: reader.experts,
          columns: reader.hiddenSize, file: file)
      )
    }
    // A block of a GGUF type holds its own scales; other small types need tensors beside them.
    guard gate.type.isRealNumber || gate.type.isQuantised && gateCompanions.isEmpty,
      TensorDecoder.supports(gate.type)
    else { throw quantisedRouter(gate) }
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
      try check(gate, [[reader.experts, reader.hiddenSize]], "[experts, hidden size]")
    }
    return (gate, nil)
  }

  private func quantisedRouter(_ tensor: TensorInfo) -> RegateError {
    let method = reader.quantisation.map { " by \($0)" } ?? ""
    let companion = gateCompanions.first.map {
      ", with \($0.name.dropFirst(reader.tensors.layerName(index).count)) beside it"
    }
    return RegateError(
      .unsupported, file: reader.checkpoint.path, subject: tensor.name,
      "the router is quantised\(method) (\(tensor.type.rawValue)\(companion ?? "")), expected"
        + " F64, F32, F16, BF16 or a block type of GGUF",
      advice: "use a checkpoint whose router was left unquantised")
  }

  private func checkedBias(_ tensors: [TensorInfo]) throws(RegateError) -> TensorInfo? {
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
    try check(bias, [[reader.experts], [1, reader.experts]], "one value per expert")
    return bias
  }

  private func check(
    _ tensor: TensorInfo, _ shapes: [[Int]], _ meaning: String
  ) throws(RegateError) {
    guard !shapes.contains(tensor.shape) else { return }
    throw RegateError(
      .mismatch, file: reader.checkpoint.path, subject: tensor.name,
      "has shape \(tensor.shape), expected \(shapes[0]), \(meaning), by \(reader.settings.file)")
  }

  /// Router tensors that the runtimes of this container do not read.
  private func ignoredTensors() -> [String] {
    if reader.prototypeForm != nil { return [] }
    var ignored = reader.selectionBias == .ignored ? selectionBiases : []
    if !reader.gateBias { ignored += gateBiases }
    // MLX's scales belong to the gate.
    if reader.mlxQuantisation == nil { ignored += gateCompanions }
    let gguf = reader.checkpoint.container == .gguf
    return ignored.map { tensor in
      let word = tensor.name.dropFirst(reader.tensors.layerName(index).count)
      return gguf
        ? "\(word): llama.cpp refuses a \(reader.family.title) file that has this tensor"
        : "\(word): transformers ignores this tensor of \(reader.family.title), and so does Regate"
    }
  }
}
