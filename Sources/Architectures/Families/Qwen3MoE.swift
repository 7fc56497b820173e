// SPDX-License-Identifier: Apache-2.0
//
// Qwen3-30B-A3B, Qwen3-235B-A22B and Qwen3-Coder (Alibaba).

import Routing

extension Family {
  static let qwen3 = Family(
    name: "qwen3_moe", title: "Qwen3-MoE", tier: .convertible,
    mixer: .groupedQuery(
      GroupedQueryTraits(
        norm: .perHead, biases: .attentionBias(output: true), window: .switched)),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_moe"], architectures: ["Qwen3MoeForCausalLM"],
      experts: .experts(default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 768), sharedExperts: nil, sparsity: .qwen,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(Key("norm_topk_prob", default: false))),
      caveats: [
        SharedCaveats.llamaCppNormalises(true), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: GGUFTraits(
      architecture: "qwen3moe", expertWidthFallback: .feedForwardOverTopK, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))),
    forms: FormTraits(
      classPrefix: "RegateQwen3Moe",
      official: .supported(
        OfficialTraits(
          modelType: "qwen3_moe_lpr", className: "Qwen3MoeForCausalLM_LPR", alignWeight: 0.1,
          olderKeys: [(older: "num_experts", current: "num_local_experts")]))),
    runtimes: RuntimeTraits(
      mlx: .init(requiredKeys: ["num_experts", "rope_theta"]),
      sglang: .init(dropsGGUFNorm: true, runsPrototype: true)))
}
