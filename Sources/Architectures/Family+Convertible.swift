// SPDX-License-Identifier: Apache-2.0
//
// Tier 1: the families that Regate converts.

import Routing

extension Family {
  static let mixtral = Family(
    name: "mixtral", title: "Mixtral", tier: .convertible, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["mixtral"], architectures: ["MixtralForCausalLM"],
      experts: .experts(default: 8), topK: .topK(default: 2),
      expertWidth: .denseWidth(default: 14336), sharedExperts: nil, sparsity: .all,
      names: .mixtral, routing: .softmax(normalise: .fixed(true))),
    gguf: GGUFTraits(
      architecture: "llama", expertWidthFallback: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))))

  static let qwen3 = Family(
    name: "qwen3_moe", title: "Qwen3-MoE", tier: .convertible, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_moe"], architectures: ["Qwen3MoeForCausalLM"],
      experts: .experts(default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 768), sharedExperts: nil, sparsity: .qwen,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(Key("norm_topk_prob", default: false)))),
    gguf: GGUFTraits(
      architecture: "qwen3moe", expertWidthFallback: .feedForwardOverTopK,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))))

  /// Also V2-Lite and the Coder and Chat releases.
  static let deepseekV2 = Family(
    name: "deepseek_v2", title: "DeepSeek-V2", tier: .convertible, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["deepseek_v2"], architectures: ["DeepseekV2ForCausalLM"],
      experts: .experts(default: 64), topK: .topK(default: nil),
      expertWidth: .expertWidth(default: 1407),
      sharedExperts: Key("n_shared_experts", default: 2), sparsity: .firstDense(default: 0),
      names: TensorNames(
        gate: ["mlp.gate.weight"], selectionBias: ["mlp.gate.e_score_correction_bias"],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      routing: RoutingTraits(
        scoring: .fixed(.softmax),
        // transformers 5.23 does not read norm_topk_prob for this family.
        normalise: .fixed(false),
        scale: .key(Key("routed_scaling_factor", default: 1), zeroIsOne: false),
        groups: RoutingTraits.Groups(
          count: Key("n_group", default: nil), kept: Key("topk_group", default: nil), score: .max,
          mask: .zero,
          method: (
            key: Key("topk_method", default: "greedy"), on: "group_limited_greedy", off: "greedy"
          )),
        logits: .float32)),
    gguf: .deepseek2)

  /// Also R1 and Kimi-K2, whose `architectures` say DeepseekV3ForCausalLM.
  static let deepseekV3 = Family(
    name: "deepseek_v3", title: "DeepSeek-V3", tier: .convertible, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["deepseek_v3", "kimi_k2"], architectures: ["DeepseekV3ForCausalLM"],
      experts: .experts(default: 256), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 2048),
      sharedExperts: Key("n_shared_experts", default: 1), sparsity: .firstDense(default: 3),
      names: .deepseek, selectionBias: .expected,
      routing: .sigmoidNodes(count: 8, kept: 4, normalise: true, scale: 2.5)),
    gguf: .deepseek2)
}

extension GGUFTraits {
  /// One GGUF architecture for V2 and V3; the gating function tells them apart.
  static let deepseek2 = GGUFTraits(
    architecture: "deepseek2", sparsity: .ggufLeadingDense, selectionBias: .optional,
    fusedGateUp: true, routing: .llamaCppFromKeys(.gatingFunction(default: .softmax)))
}
