// SPDX-License-Identifier: Apache-2.0
//
// Qwen1.5-MoE-A2.7B and Qwen2-57B-A14B (Alibaba).

import Routing

extension Family {
  static let qwen2 = Family(
    name: "qwen2_moe", title: "Qwen2-MoE", tier: .inspectable,
    mixer: .groupedQuery(
      GroupedQueryTraits(
        biases: ProjectionBiases(key: Key("qkv_bias", default: true)),
        window: .switchedOnEvenLayers)),
    gatesSharedExpert: true,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen2_moe"], architectures: ["Qwen2MoeForCausalLM"],
      experts: .experts(default: 60), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 1408), sharedExperts: nil, sparsity: .qwen,
      names: TensorNames(
        gate: ["mlp.gate.weight"], containers: ["mlp.experts"],
        shared: ["mlp.shared_experts", "mlp.shared_expert", "mlp.shared_expert_gate"]),
      routing: .softmax(normalise: .key(Key("norm_topk_prob", default: false))),
      caveats: [
        SharedCaveats.llamaCppNormalises(false), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: GGUFTraits(
      architecture: "qwen2moe", expertWidthFallback: .feedForwardOverTopK, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false))))
}
