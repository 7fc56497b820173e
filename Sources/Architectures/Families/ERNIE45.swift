// SPDX-License-Identifier: Apache-2.0
//
// ERNIE-4.5-21B-A3B and 300B-A47B, text (Baidu).

import Routing

extension Family {
  static let ernie = Family(
    name: "ernie4_5_moe", title: "ERNIE-4.5",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 4),
        biases: ProjectionBiases(key: useBias, output: true),
        rope: RopeTraits(
          interleaved: .fixed(true), ggufInterleaved: true, ggufRotatesWholeHeads: true,
          defaultTheta: 500_000))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["ernie4_5_moe"],
      architectures: ["Ernie4_5_MoeForCausalLM", "Ernie4_5MoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2560, layers: 28, heads: 20, vocabulary: 103_424, context: 131_072,
        epsilon: 1e-5),
      experts: Key("num_experts", "moe_num_experts", default: 64),
      topK: Key("num_experts_per_tok", "moe_k", default: 6),
      expertWidth: .expertWidth(default: 1536), denseWidth: .denseWidth(default: 12_288),
      sharedExperts: Key("moe_num_shared_experts", default: 2),
      sparsity: .interval(
        Key("moe_layer_interval", default: 1), start: Key("moe_layer_start_index", default: 1),
        end: Key("moe_layer_end_index", default: -1)),
      names: TensorNames(
        gate: ["mlp.gate.weight"],
        selectionBias: [
          "mlp.moe_statics.e_score_correction_bias",
          "mlp.gate.moe_statics.e_score_correction_bias",
        ],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .fixed(.softmax), normalise: .fixed(true),
        guarding: .clampKey(Key("moe_norm_min", default: 1e-12))),
      made: ClassTraits(
        fields: [
          "moe_intermediate_size": .integer, "moe_k": .integer, "moe_layer_end_index": .integer,
          "moe_layer_interval": .integer, "moe_layer_start_index": .integer,
          "moe_norm_min": .number, "moe_num_experts": .integer,
          "moe_num_shared_experts": .integer, "num_experts": .integer,
          "output_router_logits": .optionalFlag, "router_aux_loss_coef": [.null, .number],
          "use_bias": .optionalFlag,
        ],
        shared: .countedIfAny("mlp.shared_experts"), denseBiases: useBias, headBias: useBias,
        biasIsRow: true, tiesHead: true),
      // Of dense layers and shared experts, too.
      uncomputed: [UncomputedKey("use_bias", off: ["false", "null"])]),
    gguf: GGUFTraits(
      architecture: "ernie4_5-moe",
      sparsity: .interval(
        Key("interleave_moe_layer_step", default: nil),
        start: Key("leading_dense_block_count", default: 0), end: nil),
      selectionBias: .optional,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      made: GGUFClassTraits(
        outputProjectionBias: .optional, hasDenseLayers: true, gateIsOptional: true,
        shared: .byWidth,
        required: [
          "expert_feed_forward_length": .u32PerLayer, "interleave_moe_layer_step": .u32,
        ],
        optional: [
          "expert_shared_feed_forward_length": .u32, "leading_dense_block_count": .u32,
        ])),
    forms: FormTraits(classPrefix: "RegateErnie4_5_Moe"),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: true), sglang: .init(locations: .absent),
      prototypeTransformers: ["5.23.0"]))

  private static let useBias = Key("use_bias", default: false, null: .means(false))
}
