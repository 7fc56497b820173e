// SPDX-License-Identifier: Apache-2.0
//
// dots.llm1 (rednote).

import Routing

extension Family {
  static let dots1 = Family(
    name: "dots1", title: "dots.llm1",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 32, null: .means(nil)), norm: .perHead,
        biases: .attentionBias(output: true),
        window: .last(
          Key("sliding_window", default: 4096, null: .means(nil)),
          first: Key("max_window_layers", default: 62)),
        rope: RopeTraits(ggufRotatesWholeHeads: true))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["dots1"], architectures: ["Dots1ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4608, layers: 62, heads: 32, vocabulary: 152_064, context: 2048, epsilon: 1e-6),
      experts: Key("num_local_experts", "n_routed_experts", default: nil),
      topK: .topK(default: nil),
      expertWidth: .expertWidth(default: 1408), denseWidth: .denseWidth(default: 10_944),
      sharedExperts: Key("n_shared_experts", default: nil), sparsity: .firstDense(default: 0),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 1, kept: 1, normalise: .normTopK(default: false, null: .means(false)), scale: 1),
      made: ClassTraits(
        fields: [
          "attention_bias": .flag, "attention_dropout": [.null, .integer, .number],
          "first_k_dense_replace": .integer, "max_window_layers": .optionalInteger,
          "moe_intermediate_size": .integer, "n_group": .integer, "n_routed_experts": .integer,
          "n_shared_experts": .integer, "norm_topk_prob": .optionalFlag,
          "num_key_value_heads": .optionalInteger, "num_local_experts": .integer,
          "routed_scaling_factor": .number, "sliding_window": .optionalInteger,
          "topk_group": .integer,
        ],
        shared: .counted("mlp.shared_experts"))),
    gguf: GGUFTraits(
      architecture: "dots1", sparsity: .ggufLeadingDense, selectionBias: .optional,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil)),
      made: GGUFClassTraits(
        output: .required, keysHaveAllHeads: true, headNorms: .perHead, hasDenseLayers: true,
        shared: .counted,
        required: ["expert_feed_forward_length": .u32PerLayer, "expert_shared_count": .u32],
        optional: .weighing)),
    forms: FormTraits(classPrefix: "RegateDots1"),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}
