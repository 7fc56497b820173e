// SPDX-License-Identifier: Apache-2.0
//
// The language model of Qwen3-VL-MoE (Alibaba): Qwen3-MoE that always renormalises. Its rotation
// has three positions for each token, which are the same in text. The vision tower is left alone.

import Routing

extension Family {
  static let qwen3VL = Family(
    name: "qwen3_vl_moe", title: "Qwen3-VL-MoE",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 16),
        headSize: .optional("head_dim"), norm: .perHead, biases: .attentionBias(output: true),
        rope: RopeTraits(
          ggufSections: .byTurns, ggufRotatesWholeHeads: true, defaultTheta: 500_000))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen3_vl_moe_text"], architectures: ["Qwen3VLMoeForConditionalGeneration"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 24, heads: 16, vocabulary: 151_936, context: 128_000,
        epsilon: 1e-6
      ),
      experts: Key("num_local_experts", "num_experts", default: 60), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 1408), denseWidth: .denseWidth(default: 5632),
      sharedExperts: nil, sparsity: .qwen,
      names: TensorNames(
        gate: ["mlp.gate.weight"], containers: ["mlp.experts"], published: .fused),
      routing: .softmax(normalise: .fixed(true)),
      made: ClassTraits(
        fields: .qwen.adding([
          "attention_bias": .flag, "head_dim": .optionalInteger, "num_local_experts": .integer,
        ])),
      caveats: [SharedCaveats.llamaCppHasNoDenseLayers]),
    gguf: .qwen3VL(),
    forms: FormTraits(
      wrapper: WrapperClasses(modelType: "qwen3_vl_moe", classPrefix: "RegateQwen3VLMoe")),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}
