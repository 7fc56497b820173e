// SPDX-License-Identifier: Apache-2.0
//
// Qwen1.5-MoE-A2.7B and Qwen2-57B-A14B (Alibaba).

import Routing

extension Family {
  static let qwen2 = Family(
    name: "qwen2_moe", title: "Qwen2-MoE",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 16),
        biases: ProjectionBiases(key: Key("qkv_bias", default: true)),
        window: .switchedOnEvenLayers(Key("sliding_window", default: 4096)),
        rope: RopeTraits(ggufRotatesWholeHeads: true))),
    gatesSharedExpert: true,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen2_moe"], architectures: ["Qwen2MoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 24, heads: 16, vocabulary: 151_936, context: 32_768, epsilon: 1e-6
      ),
      experts: Key("num_experts", default: 60), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 1408), denseWidth: .denseWidth(default: 5632),
      sharedExperts: nil,
      sharedWidth: Key("shared_expert_intermediate_size", default: 5632), sparsity: .qwen,
      names: TensorNames(
        gate: ["mlp.gate.weight"], containers: ["mlp.experts"],
        shared: ["mlp.shared_experts", "mlp.shared_expert", "mlp.shared_expert_gate"]),
      routing: .softmax(normalise: .key(.normTopK(default: false))),
      made: ClassTraits(
        fields: .qwen.adding([
          "max_window_layers": .integer, "qkv_bias": .flag,
          "shared_expert_intermediate_size": .integer,
        ]),
        shared: .gated("mlp.shared_expert")),
      caveats: [
        SharedCaveats.llamaCppNormalises(false), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: GGUFTraits(
      architecture: "qwen2moe", expertWidth: .ownOrFeedForwardOverTopK, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false)),
      made: GGUFClassTraits(
        output: .required, queriesAreHidden: true, shared: .gated,
        optional: [
          "expert_feed_forward_length": .u32PerLayer, "expert_shared_feed_forward_length": .u32,
        ])),
    forms: FormTraits(classPrefix: "RegateQwen2Moe"),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: false), sglang: .init(locations: .taken),
      prototypeTransformers: ["5.23.0"]))
}
