// SPDX-License-Identifier: Apache-2.0
//
// Hunyuan-A13B (Tencent). Its attention is not run yet.

import Routing

extension Family {
  static let hunYuan = Family(
    name: "hunyuan_v1_moe", title: "Hunyuan-MoE",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["hunyuan_v1_moe"], architectures: ["HunYuanMoEV1ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 32, heads: 32, vocabulary: 290_943, context: 2048, epsilon: 1e-5),
      experts: Key("num_local_experts", "num_experts", default: 1),
      topK: Key("num_experts_per_tok", "moe_topk", default: 1),
      expertWidth: .denseWidth(default: 11_008), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["mlp.gate.wg.weight"], containers: ["mlp.experts"], shared: ["mlp.shared_mlp"]),
      routing: .softmax(normalise: .fixed(true))),
    gguf: GGUFTraits(
      architecture: "hunyuan-moe", expertWidth: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))))
}
