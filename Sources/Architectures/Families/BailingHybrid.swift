// SPDX-License-Identifier: Apache-2.0
//
// Ling-3.0 (inclusionAI): DeepSeek-V3's routing under names of its own. Not run: Kimi delta
// attention.

import Routing

extension Family {
  static let bailing = Family(
    name: "bailing_hybrid", title: "Ling-3.0",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["bailing_hybrid"],
      architectures: ["BailingHybridForCausalLM", "BailingMoeV3ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2560, layers: 42, heads: 32, vocabulary: 157_184, context: 262_144,
        epsilon: 1e-6),
      experts: Key("num_experts", "num_local_experts", default: 512),
      topK: Key("num_experts_per_token", "num_experts_per_tok", default: 8),
      expertWidth: .expertWidth(default: 768),
      sharedExperts: Key("num_shared_experts", "n_shared_experts", default: 1),
      sparsity: .named("mlp_layer_types", otherwise: .firstDense(default: 2)),
      names: TensorNames(
        gate: ["mlp.gate.weight"],
        selectionBias: ["mlp.gate.expert_bias", "mlp.gate.e_score_correction_bias"],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      selectionBias: .expected,
      routing: .renamedSigmoidGroups(count: 8, kept: 4, scale: 2.5),
      mtpLayers: .mtpLayers),
    gguf: GGUFTraits(
      architecture: "bailingmoe3", sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}

extension RoutingTraits {
  /// DeepSeek-V3's rule under the keys of Ling-3.0 and Kimi-Linear.
  static func renamedSigmoidGroups(count: Int, kept: Int, scale: Double) -> RoutingTraits {
    var traits = sigmoidGroups(
      count: count, kept: kept,
      normalise: Key("moe_renormalize", "norm_topk_prob", default: true), scale: scale)
    traits.groups?.count = Key("num_expert_group", "n_group", default: count)
    return traits
  }
}
