// SPDX-License-Identifier: Apache-2.0
//
// Hy3 (Tencent). Its attention is not run yet.

import Routing

extension Family {
  static let hunYuanV3 = Family(
    name: "hy_v3", title: "Hy3",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["hy_v3"], architectures: ["HYV3ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 80, heads: 64, vocabulary: 120_832, context: 131_072,
        epsilon: 1e-5),
      experts: Key("num_local_experts", "num_experts", default: 192), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 1536),
      sharedExperts: Key("num_shared_experts", default: 1),
      sparsity: .named("mlp_layer_types", otherwise: .after(1)),
      names: TensorNames(
        gate: ["mlp.router.gate.weight", "mlp.gate.weight"],
        selectionBias: ["mlp.expert_bias", "mlp.e_score_correction_bias"],
        containers: ["mlp.experts"], shared: ["mlp.shared_mlp", "mlp.shared_experts"]),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .fixed(.sigmoid), normalise: .fixed(true), guarding: .fixed(.add(1e-20)),
        scale: .key(Key("router_scaling_factor", default: 2.826), zeroIsOne: false))),
    gguf: GGUFTraits(
      architecture: "hy_v3", sparsity: .stored, selectionBias: .optional, fusedGateUp: true,
      routing: .llamaCppFromKeys(.gatingFunction(default: .sigmoid))))
}
