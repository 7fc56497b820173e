// SPDX-License-Identifier: Apache-2.0
//
// GLM-4.5, 4.6 and 4.7 (Zhipu AI).

import Routing

extension Family {
  static let glm4 = Family(
    name: "glm4_moe", title: "GLM-4.5",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 8),
        norm: .perHeadIf(Key("use_qk_norm", default: false)),
        biases: .attentionBias(output: false),
        rope: RopeTraits(ggufSections: .inRow, partialRotation: 0.5))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["glm4_moe"], architectures: ["Glm4MoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 46, heads: 96, vocabulary: 151_552, context: 131_072,
        epsilon: 1e-5),
      experts: Key("num_local_experts", "n_routed_experts", default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 1408), denseWidth: .denseWidth(default: 10_944),
      sharedExperts: Key("n_shared_experts", default: 1), sparsity: .firstDense(default: 1),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 1, kept: 1, normalise: .normTopK(default: true), scale: 1),
      made: ClassTraits(
        fields: [
          "attention_bias": .flag, "first_k_dense_replace": .integer,
          "moe_intermediate_size": .integer, "n_group": .integer, "n_routed_experts": .integer,
          "n_shared_experts": .integer, "norm_topk_prob": .flag, "num_local_experts": .integer,
          "num_mtp_layers": .integer, "routed_scaling_factor": .number, "topk_group": .integer,
          "use_qk_norm": .flag,
        ], shared: .counted("mlp.shared_experts"), rotatesPart: true),
      mtpLayers: .mtpLayers),
    gguf: GGUFTraits(
      architecture: "glm4moe", sparsity: .ggufLeadingDense, selectionBias: .expected,
      feedForwardNorm: "post_attention_norm",
      routing: .llamaCppFromKeys(.gatingFunction(default: .sigmoid)),
      made: GGUFClassTraits(
        rotatesWholeHeads: false, headNorms: .perHeadIfStored, hasDenseLayers: true,
        shared: .countedIfAny, predicts: true,
        required: ["expert_feed_forward_length": .u32PerLayer, "expert_shared_count": .u32],
        optional: [String: GGUFKeyType].weighing.merging([
          "rope.dimension_sections": .sections
        ]) { $1 })),
    forms: FormTraits(classPrefix: "RegateGlm4Moe"),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: true), sglang: .init(locations: .taken),
      prototypeTransformers: ["5.23.0"]))
}
