// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Tensors

extension LayoutReader {
  /// Why `ExpertReader` cannot decode the experts; nil if it can.
  func undecodable(_ layers: [MoELayer]) -> String? {
    guard family.activation.gated != nil else {
      return "\(family.title)'s experts compute \(family.activation.rawValue), not silu"
    }
    guard GatedActivation(name: hiddenActivation) != nil else {
      return "hidden_act is \(hiddenActivation), only silu is supported"
    }
    for layer in layers {
      for part in layer.experts {
        if let reason = undecodable(part) { return reason }
      }
    }
    return nil
  }

  private func undecodable(_ part: ExpertPart) -> String? {
    let scheme = quantisation.map { " (quantised by \($0))" } ?? ""
    switch part.kind {
    case .packedWeight:
      return "the experts' matrices are packed\(scheme): \(part.name) cannot be decoded"
    case .weight:
      let type = part.tensors.first { !TensorDecoder.supports($0.type) }?.type
      return type.map { "\(part.name) is \($0.rawValue), which cannot be decoded\(scheme)" }
    case .scale:
      return isKnownScale(part) ? nil : "\(part.name) is a scale of an unknown kind\(scheme)"
    case .bias:
      return "the experts have biases (\(part.name))\(scheme)"
    case .companion:
      return part.role == .other ? nil : "\(part.name) is not understood\(scheme)"
    }
  }

  private func isKnownScale(_ part: ExpertPart) -> Bool {
    switch checkpoint.container {
    // llama.cpp multiplies an expert's output by `.scale`; `.input_scale` serves quantised inputs.
    case .gguf: part.suffix == "scale" || part.suffix == "input_scale"
    case .safetensors:
      scaleBlock != nil && ["weight_scale_inv", "scale_inv"].contains(part.suffix)
    }
  }

  /// What the tensors say that other tools should know.
  func tensorWarnings(_ layers: [MoELayer]) -> [String] {
    let parts = layers.flatMap(\.experts)
    var warnings: [String] = []
    let isFused = parts.contains { $0.isStacked && $0.role == .gateUp && $0.kind == .weight }
    if isFused, checkpoint.container == .gguf, !family.gguf.fusedGateUp {
      warnings.append(
        "ffn_gate_up_exps: llama.cpp does not load \(family.title) with gate and up fused")
    }
    if isFused, checkpoint.container == .safetensors, !family.gguf.convertsFused {
      warnings.append(
        "the experts are fused (\(tensors.names.weight(.gate, expert: 0)) and its like are not"
          + " there): transformers 5 loads this, llama.cpp's converter refuses it for"
          + " \(family.title)")
    }
    if let part = parts.first(where: \.transposed), !family.huggingFace.transposesExperts {
      warnings.append(
        "\(part.name) is stored [in,out]: transformers loads \(family.title) only as [out,in]")
    }
    if let part = parts.first(where: { $0.role == .other }) {
      warnings.append(
        "\(part.name) belongs to the experts, but is not understood: clones copy it, nothing else"
          + " uses it")
    }
    return warnings
  }
}
