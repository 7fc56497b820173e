// SPDX-License-Identifier: Apache-2.0
//
// Names of one MoE layer's tensors in GGUF files (gguf-py 0.19), relative to `blk.{n}.`; the same
// for every architecture:
//   ffn_gate_inp.weight          router gate {H,E}
//   ffn_gate_inp.bias            bias on the logits {E}
//   exp_probs_b[.bias]           bias on the scores, selection only {E}
//   exp_probs_b_vl.bias          the same for tokens of pictures {E}
//   ffn_gate_tid2eid.weight      the experts that each token id takes {K,V}
//   ffn_{gate,up}_exps.weight    {H,I,E}, ffn_down_exps.weight {I,H,E}
//   ffn_gate_up_exps.weight      {H,2I,E}, gate rows first
//   ffn_*_exps.{scale,bias,..}   companions, last dimension E
//   ffn_*_shexp.weight           shared experts
//
// Of families whose layers are branched:
//   ffn_gate_inp.scale           of the router's input {H}
//   pre_ffw_norm_2.weight        norm of the experts' input {H}
//   ffn_down_exps.scale          of the experts' outputs {E}
//   ffn_{gate,up,down}.weight    shared experts

package enum GGUFNames {
  static let gate = "ffn_gate_inp.weight"
  static let gateBias = "ffn_gate_inp.bias"
  static let selectionBias = "exp_probs_b.bias"
  static let routerScale = "ffn_gate_inp.scale"
  static let expertNorm = "pre_ffw_norm_2.weight"
  private static let outputScale = "ffn_down_exps.scale"
  private static let dense = ["ffn_gate.", "ffn_up.", "ffn_down."]
  static let table = "ffn_gate_tid2eid.weight"

  /// Longest first: `ffn_gate_up_exps` is not `ffn_gate_exps`.
  private static let stacks: [(stem: String, role: ExpertPart.Role)] = [
    ("ffn_gate_up_exps", .gateUp), ("ffn_gate_exps", .gate), ("ffn_up_exps", .up),
    ("ffn_down_exps", .down),
  ]

  static func stem(of role: ExpertPart.Role) -> String {
    stacks.first { $0.role == role }?.stem ?? "ffn_gate_exps"
  }

  package static func role(of name: String, branched: Bool = false) -> TensorRole {
    switch name {
    case routerScale where branched: return .routerScale
    case expertNorm where branched: return .expertNorm
    case outputScale where branched: return .outputScale
    case _ where branched && dense.contains(where: name.hasPrefix): return .shared
    case gate: return .gate
    case gateBias: return .gateBias
    case selectionBias, "exp_probs_b": return .selectionBias
    case table: return .table
    case "exp_probs_b_vl.bias": return .fused(stem: name, suffix: "", role: .other)
    default: break
    }
    if name.hasPrefix("ffn_gate_inp.") { return .gateCompanion }
    if name.contains("_shexp") { return .shared }
    for (stem, role) in stacks {
      if let suffix = TensorNames.suffix(of: name, after: stem) {
        return .fused(stem: stem, suffix: suffix, role: role)
      }
    }
    return name.contains("_exps") ? .fused(stem: name, suffix: "", role: .other) : .unrelated
  }

  /// `ffn_gate.{e}.weight`, `ffn_up.{e}.weight`, `ffn_down.{e}.weight`: Mixtral GGUFs of early
  /// 2024, which llama.cpp no longer loads.
  static func isSplitExpert(_ name: String) -> Bool {
    let parts = name.split(separator: ".")
    return parts.count == 3 && ["ffn_gate", "ffn_up", "ffn_down"].contains(parts[0])
      && TensorNames.index(parts[1]) != nil
  }
}
