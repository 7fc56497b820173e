// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections
import Tensors

/// Names of an expert's gate, up and down matrices.
typealias Projections = (gate: String, up: String, down: String)

extension ModelDraft {
  static let byRole: Projections = ("gate_proj", "up_proj", "down_proj")
  static let numbered: Projections = ("w1", "w3", "w2")

  /// A Hugging Face model with MoE layers `layers`. Keys that `settings` makes null are left out.
  static func huggingFace(
    _ type: String, _ settings: [String: JSONValue], layers: [Int] = [0, 1],
    gate: String = "mlp.gate", container: String = "mlp.experts",
    projections: Projections = byRole, prefix: String = "model.", bias: String? = nil
  ) -> ModelDraft {
    var draft = ModelDraft()
    draft.config = ["model_type": .string(type), "hidden_size": 8, "num_hidden_layers": 2]
    for (key, value) in settings.sorted(by: { $0.key < $1.key }) {
      draft.config[key] = value.isNull ? JSONValue?.none : value
    }
    for layer in layers {
      let name = "\(prefix)layers.\(layer)."
      draft.add("\(name)\(gate).weight", [experts, hidden])
      if let bias { draft.add(name + bias, [experts]) }
      for expert in 0..<experts {
        let stem = "\(name)\(container).\(expert)."
        draft.add("\(stem)\(projections.gate).weight", [width, hidden])
        draft.add("\(stem)\(projections.up).weight", [width, hidden])
        draft.add("\(stem)\(projections.down).weight", [hidden, width])
      }
    }
    return draft
  }

  static var mixtral: ModelDraft {
    huggingFace(
      "mixtral",
      ["num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 6],
      gate: "block_sparse_moe.gate", container: "block_sparse_moe.experts",
      projections: numbered)
  }

  static func qwen3(
    _ settings: [String: JSONValue] = [:], layers: [Int] = [0, 1]
  ) -> ModelDraft {
    let published: [String: JSONValue] = [
      "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
      "norm_topk_prob": true,
    ]
    return huggingFace(
      "qwen3_moe", published.merging(settings) { $1 }, layers: layers)
  }

  static let deepseekSettings: [String: JSONValue] = [
    "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
    "n_shared_experts": 1, "first_k_dense_replace": 1,
  ]

  static func deepseekV2(_ settings: [String: JSONValue] = [:]) -> ModelDraft {
    huggingFace("deepseek_v2", deepseekSettings.merging(settings) { $1 }, layers: [1])
      .addingShared("mlp.shared_experts")
  }

  static func deepseekV3(_ settings: [String: JSONValue] = [:], type: String = "deepseek_v3")
    -> ModelDraft
  {
    let published: [String: JSONValue] = [
      "n_group": 2, "topk_group": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
    ]
    return huggingFace(
      type, deepseekSettings.merging(published) { $1 }.merging(settings) { $1 }, layers: [1],
      bias: "mlp.gate.e_score_correction_bias"
    ).addingShared("mlp.shared_experts")
  }

  private func addingShared(_ stem: String) -> ModelDraft {
    var draft = self
    draft.add("model.layers.1.\(stem).gate_proj.weight", [6, 8])
    draft.add("model.layers.1.\(stem).up_proj.weight", [6, 8])
    draft.add("model.layers.1.\(stem).down_proj.weight", [8, 6])
    return draft
  }

  /// The same model with each layer's experts in fused tensors, as transformers 5 holds them.
  func fused(
    into stem: String = "mlp.experts", from container: String = "mlp.experts",
    projections: Projections = byRole, transposed: Bool = false
  ) throws -> ModelDraft {
    var draft = self
    let layers = Set(
      tensors.keys.compactMap { $0.split(separator: ".").compactMap { Int($0) }.first })
    for layer in layers.sorted() {
      let name = "model.layers.\(layer)."
      func rows(_ expert: Int, _ projection: String, _ row: Int, _ columns: Int) -> [Float] {
        let full = "\(name)\(container).\(expert).\(projection).weight"
        return (0..<columns).map { ModelDraft.value(full, row * columns + $0) }
      }
      var gateUp: [Float] = []
      var down: [Float] = []
      for expert in 0..<ModelDraft.experts {
        let stacked =
          (0..<6).map { rows(expert, projections.gate, $0, 8) }
          + (0..<6).map { rows(expert, projections.up, $0, 8) }
        let last = (0..<8).map { rows(expert, projections.down, $0, 6) }
        gateUp += transposed ? ModelDraft.transpose(stacked) : stacked.flatMap { $0 }
        down += transposed ? ModelDraft.transpose(last) : last.flatMap { $0 }
      }
      draft.tensors = draft.tensors.filter { !$0.key.hasPrefix("\(name)\(container).") }
      draft.add(
        "\(name)\(stem).gate_up_proj", transposed ? [4, 8, 12] : [4, 12, 8], values: gateUp)
      draft.add("\(name)\(stem).down_proj", transposed ? [4, 6, 8] : [4, 8, 6], values: down)
    }
    return draft
  }

  private static func transpose(_ rows: [[Float]]) -> [Float] {
    (0..<(rows.first?.count ?? 0)).flatMap { column in rows.map { $0[column] } }
  }

  /// A GGUF model.
  static func gguf(
    _ arch: String, _ settings: [String: GGUFValue] = [:], layers: [Int] = [0, 1],
    bias: Bool = false, fusedGateUp: Bool = false
  ) -> ModelDraft {
    var draft = ModelDraft()
    draft.metadata = ["general.architecture": .string(arch)]
    let common: [String: GGUFValue] = [
      "embedding_length": .uint32(8), "block_count": .uint32(2), "expert_count": .uint32(4),
      "expert_used_count": .uint32(2), "expert_feed_forward_length": .uint32(6),
      "feed_forward_length": .uint32(6),
    ]
    for (key, value) in common.merging(settings, uniquingKeysWith: { $1 }).sorted(by: {
      $0.key < $1.key
    }) {
      draft.metadata["\(arch).\(key)"] = value
    }
    for layer in layers {
      draft.add("blk.\(layer).ffn_gate_inp.weight", [4, 8])
      if bias { draft.add("blk.\(layer).exp_probs_b.bias", [4]) }
      if fusedGateUp {
        draft.add("blk.\(layer).ffn_gate_up_exps.weight", [4, 12, 8])
      } else {
        draft.add("blk.\(layer).ffn_gate_exps.weight", [4, 6, 8])
        draft.add("blk.\(layer).ffn_up_exps.weight", [4, 6, 8])
      }
      draft.add("blk.\(layer).ffn_down_exps.weight", [4, 8, 6])
    }
    return draft
  }

  static func deepseek2(
    _ settings: [String: GGUFValue] = [:], without: [String] = [], bias: Bool = true
  ) -> ModelDraft {
    let converted: [String: GGUFValue] = [
      "leading_dense_block_count": .uint32(1), "expert_shared_count": .uint32(1),
      "expert_gating_func": .uint32(2), "expert_weights_norm": .bool(true),
      "expert_weights_scale": .float32(2.5), "expert_group_count": .uint32(2),
      "expert_group_used_count": .uint32(1),
    ]
    return gguf(
      "deepseek2", converted.merging(settings) { $1 }.filter { !without.contains($0.key) },
      layers: [1], bias: bias)
  }
}
