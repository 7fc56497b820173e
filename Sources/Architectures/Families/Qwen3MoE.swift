// SPDX-License-Identifier: Apache-2.0
//
// Qwen3-30B-A3B, Qwen3-235B-A22B and Qwen3-Coder (Alibaba).

import Routing

extension Family {
  static let qwen3 = Family(
    name: "qwen3_moe", title: "Qwen3-MoE",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 4), norm: .perHead,
        biases: .attentionBias(output: true),
        window: .switched(Key("sliding_window", default: 4096, null: .means(nil))),
        rope: RopeTraits(ggufRotatesWholeHeads: true))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_moe"], architectures: ["Qwen3MoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 24, heads: 32, vocabulary: 151_936, context: 32_768, epsilon: 1e-6
      ),
      experts: Key("num_local_experts", "num_experts", default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 768), denseWidth: .denseWidth(default: 6144),
      sharedExperts: nil, sparsity: .qwen,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(.normTopK(default: false))),
      made: ClassTraits(
        fields: .qwen.adding(["attention_bias": .flag, "num_local_experts": .integer])),
      caveats: [
        SharedCaveats.llamaCppNormalises(true), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: GGUFTraits(
      architecture: "qwen3moe", expertWidth: .ownOrFeedForwardOverTopK, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      made: GGUFClassTraits(
        wasRun: true, headNorms: .perHead, optional: ["expert_feed_forward_length": .u32PerLayer])),
    forms: FormTraits(
      classPrefix: "RegateQwen3Moe",
      official: .supported(
        OfficialTraits(
          modelType: "qwen3_moe_lpr", className: "Qwen3MoeForCausalLM_LPR", alignWeight: 0.1,
          olderKeys: [(older: "num_experts", current: "num_local_experts")]))),
    runtimes: RuntimeTraits(
      mlx: .init(requiredKeys: ["num_experts", "rope_theta"], ranStock: true),
      vllm: .init(
        stock: ["0.29.0", "0.31.0", "0.32.0"], prototype: ["0.31.0", "0.32.0"],
        plugin: ["0.31.0", "0.32.0"], hasEPLB: true),
      sglang: .init(
        dropsGGUFNorm: true, runsPrototype: true, runsPrototypePackage: true, ranStock: true,
        locations: .mappedLate),
      pluginNeedsNorm: true, prototypeTransformers: RuntimeTraits.trainedTransformers))
}
