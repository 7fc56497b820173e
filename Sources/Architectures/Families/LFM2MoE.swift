// SPDX-License-Identifier: Apache-2.0
//
// LFM2-MoE (Liquid AI). Not run: short convolutions.

import Routing

extension Family {
  static let lfm2 = Family(
    name: "lfm2_moe", title: "LFM2-MoE",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["lfm2_moe"], architectures: ["Lfm2MoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 32, heads: 32, vocabulary: 65_536, context: 128_000,
        epsilon: 1e-5),
      experts: Key("num_experts", default: 32), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 1792), sharedExperts: nil,
      sparsity: .afterLeadingDense(Key("num_dense_layers", default: 2)),
      names: TensorNames(
        gate: ["feed_forward.gate.weight"], selectionBias: ["feed_forward.expert_bias"],
        containers: ["feed_forward.experts"], published: .numbered),
      selectionBias: .expected, usesBias: Key("use_expert_bias", default: true),
      routing: RoutingTraits(
        scoring: .fixed(.sigmoid), normalise: .key(.normTopK(default: true)),
        guarding: .fixed(.add(1e-6)),
        scale: .key(Key("routed_scaling_factor", default: 1), zeroIsOne: false)),
      caveats: [SharedCaveats.llamaCppNormalises(true)]),
    gguf: GGUFTraits(
      architecture: "lfm2moe", sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCpp(.gatingFunction(default: nil), normalise: .fixed(true))))
}
