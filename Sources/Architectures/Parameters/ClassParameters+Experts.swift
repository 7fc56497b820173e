// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Routing

extension ClassParameters {
  mutating func readRouter(_ layer: MoELayer, _ prefix: String) {
    let names = traits.names
    let experts = layer.rule.experts
    add(names.gate.map { prefix + $0 }, [experts, hidden])
    if !names.gateBias.isEmpty { add(names.gateBias.map { prefix + $0 }, [experts]) }
    for scales in [names.routerScale, names.expertNorm] where !scales.isEmpty {
      add(scales.map { prefix + $0 }, [hidden])
    }
    if !names.outputScale.isEmpty { add(names.outputScale.map { prefix + $0 }, [experts]) }
    if traits.selectionBias == .expected {
      add(names.selectionBias.map { prefix + $0 }, made.biasIsRow ? [1, experts] : [experts])
    }
  }

  /// One tensor for all experts, or one for each.
  mutating func readExperts(_ layer: MoELayer, _ prefix: String) {
    let (experts, width) = (layer.rule.experts, layer.expertWidth)
    let transposed = traits.transposesExperts
    let inputs = transposed ? [experts, hidden, 2 * width] : [experts, 2 * width, hidden]
    let outputs = transposed ? [experts, width, hidden] : [experts, hidden, width]
    let (gate, up, down) = stems
    add(
      fusedForms(.gateUp, "gate_up_proj", prefix, inputs)
        + separateForms([gate, up], prefix, experts: experts, shape: [width, hidden]))
    add(
      fusedForms(.down, "down_proj", prefix, outputs)
        + separateForms([down], prefix, experts: experts, shape: [hidden, width]))
    guard made.expertBiases else { return }
    for container in traits.names.containers {
      add(prefix + container + ".gate_up_proj_bias", [experts, 2 * width])
      add(prefix + container + ".down_proj_bias", [experts, hidden])
    }
  }

  /// The published projections of one expert; none where they are published fused.
  private var stems: (gate: String, up: String, down: String) {
    if case .numbered = traits.names.published {
      ("w1", "w3", "w2")
    } else {
      ("gate_proj", "up_proj", "down_proj")
    }
  }

  private func fusedForms(
    _ role: ExpertPart.Role, _ stem: String, _ prefix: String, _ shape: [Int]
  ) -> [[Parameter.Piece]] {
    let outside = traits.names.fused.filter { $0.value == role }.map { "\($0.key).weight" }
    let inside = traits.names.containers.map { "\($0).\(stem)" }
    return (inside.reversed() + outside).map { [Parameter.Piece(prefix + $0, shape)] }
  }

  private func separateForms(
    _ stems: [String], _ prefix: String, experts: Int, shape: [Int]
  ) -> [[Parameter.Piece]] {
    if case .fused = traits.names.published { return [] }
    return traits.names.containers.map { container in
      (0..<experts).flatMap { expert in
        stems.map { Parameter.Piece("\(prefix)\(container).\(expert).\($0).weight", shape) }
      }
    }
  }

  mutating func readShared(_ layer: MoELayer, _ prefix: String) throws(RegateError) {
    switch made.shared {
    case .none: return
    case .counted(let name):
      try addShared(prefix + name, layer.expertWidth * layer.sharedExperts)
    case .countedIfAny(let name):
      guard layer.sharedExperts > 0 else { return }
      try addShared(prefix + name, layer.expertWidth * layer.sharedExperts)
    case .ofWidth(let name): try addShared(prefix + name, try sharedWidth(layer))
    case .gated(let name):
      try addShared(prefix + name, try sharedWidth(layer))
      add(prefix + name + "_gate.weight", [1, hidden])
    case .fused(let name, let key, let modelType):
      let width = try settings.required(key)
      guard try settings.string(.optional("model_type")) == modelType, width > 0 else { return }
      addLinear(prefix + name + ".input_linear", 2 * width, hidden)
      addLinear(prefix + name + ".output_linear", hidden, width)
    }
  }

  private mutating func sharedWidth(_ layer: MoELayer) throws(RegateError) -> Int {
    guard let key = traits.sharedWidth else { return layer.expertWidth }
    return try settings.required(key)
  }

  private mutating func addShared(_ name: String, _ width: Int) throws(RegateError) {
    let bias = try flag(made.denseBiases)
    addLinear(name + ".gate_proj", width, hidden, bias: bias)
    addLinear(name + ".up_proj", width, hidden, bias: bias)
    addLinear(name + ".down_proj", hidden, width, bias: bias)
  }
}
