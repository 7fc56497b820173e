// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Routing
import Tensors

extension LayoutReader {
  /// Why `ExpertReader` cannot decode the experts; nil if it can.
  func undecodable(_ layers: [MoELayer]) -> String? {
    if let reason = uncomputed { return reason }
    for layer in layers {
      if !expertBiases,
        let bias = layer.experts.first(where: { $0.kind == .bias && $0.role != .other })
      {
        return "the experts have biases (\(bias.name))\(quantisation.words)"
      }
      for part in layer.experts where part.isMatrix {
        if let reason = undecodable(part, of: layer) { return reason }
      }
    }
    return nil
  }

  /// What experts do that Regate does not compute; nil where there is nothing of the kind.
  var uncomputed: String? {
    if let (key, name) = family.activation.named,
      GatedActivation(name: hiddenActivation) != activation
    {
      return "\(key) is \(hiddenActivation), only \(name) is supported"
    }
    if activation == nil {
      return "the experts of this \(family.title) \(family.activation.words), which Regate does not"
        + " compute"
    }
    return expertInputs == hiddenSize
      ? nil
      : "the experts of this \(family.title) read \(expertInputs) projected values, not the"
        + " \(hiddenSize) that the router reads"
  }

  /// What is not understood is told now; what does not fit, by the tensor, when it is decoded.
  private func undecodable(_ part: ExpertPart, of layer: MoELayer) -> String? {
    // What is stored for all experts is alike.
    for expert in 0..<(part.isStacked ? 1 : layer.rule.experts) {
      let weight: StoredWeight
      do throws(RegateError) {
        weight = try layer.weight(part, of: expert, in: checkpoint, scheme: quantisation)
      } catch {
        return Self.words(error)
      }
      // [in,out] storage does not tell what one dimension of scales is for.
      if part.transposed, let scale = weight.scale, scale.shape.count == 1, scale.shape[0] > 1 {
        return "\(scale.tensor.name) is a scale of an unknown kind\(quantisation.words)"
      }
      do throws(RegateError) {
        guard let shape = part.matrixShape(of: layer) else { continue }
        _ = try weight.block(rows: shape[0], columns: shape[1], in: checkpoint)
      } catch {
        if error.code == .unsupported { return Self.words(error) }
      }
    }
    return nil
  }

  private static func words(_ error: RegateError) -> String {
    [error.subject, error.problem].compactMap { $0 }.joined(separator: " ")
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
    if quantisation.method == nil, let part = parts.first(where: { $0.suffix == Companion.blocks })
    {
      warnings.append(
        "\(part.name) is in blocks of FP4, and there is no quantization_config: transformers leaves"
          + " the blocks out and starts random experts; write {\"quant_method\": \"mxfp4\"}")
    }
    if let part = parts.first(where: { $0.role == .other }) {
      warnings.append(
        "\(part.name) belongs to the experts, but is not understood: clones copy it, nothing else"
          + " uses it")
    }
    return warnings
  }
}
