// SPDX-License-Identifier: Apache-2.0
//
// Granite 3 MoE, with and without a shared expert (IBM).

import Routing

extension Family {
  static let granite = Family(
    name: "granitemoe", title: "Granite-MoE",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: nil, null: .means(nil)),
        scale: Key("attention_multiplier", default: 1),
        ggufScale: Key("attention.scale", default: 0), biases: .attentionBias(output: true),
        rope: RopeTraits(ggufInterleaved: true, ggufRotatesWholeHeads: true))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["granitemoe", "granitemoeshared"],
      architectures: ["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 32, heads: 32, vocabulary: 32_000, context: 2048, epsilon: 1e-6),
      experts: Key("num_local_experts", default: 8), topK: .topK(default: 2),
      expertWidth: .denseWidth(default: 11008), sharedExperts: nil,
      sharedWidth: sharedWidth, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.router.layer.weight", "block_sparse_moe.router.weight"],
        containers: ["block_sparse_moe.experts"],
        fused: [
          "block_sparse_moe.input_linear": .gateUp, "block_sparse_moe.output_linear": .down,
        ],
        shared: ["shared_mlp"], published: .fused),
      routing: RoutingTraits(scoring: .fixed(.softmaxOfSelected), normalise: .fixed(false)),
      multipliers: MultiplierTraits(
        embedding: Key("embedding_multiplier", default: 1),
        residual: Key("residual_multiplier", default: 1),
        logits: Key("logits_scaling", default: 1)),
      made: ClassTraits(
        fields: [
          "attention_bias": .flag, "attention_dropout": [.null, .integer, .number],
          "attention_multiplier": [.null, .integer, .number], "embedding_multiplier": .anyNumber,
          "logits_scaling": .anyNumber, "num_key_value_heads": .optionalInteger,
          "num_local_experts": .integer, "output_router_logits": .optionalFlag,
          "residual_multiplier": .anyNumber, "router_aux_loss_coef": [.null, .number],
        ],
        shared: .fused("shared_mlp", width: sharedWidth, modelType: "granitemoeshared"))),
    gguf: GGUFTraits(
      architecture: "granitemoe", expertWidth: .feedForward, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      multipliers: MultiplierTraits(
        embedding: Key("embedding_scale", default: 0), residual: Key("residual_scale", default: 0),
        logits: Key("logit_scale", default: nil)),
      made: GGUFClassTraits(
        outputProjectionBias: .optional, rotationFactors: .byScaling,
        gateIsOptional: true,
        shared: .byWidth, required: ["logit_scale": .f32],
        optional: [
          "residual_scale": .f32, "embedding_scale": .f32, "attention.scale": .f32,
          "expert_shared_feed_forward_length": .u32,
        ])),
    // With no shared expert that class is the other one.
    forms: FormTraits(classPrefix: "RegateGraniteMoeShared", guardsActivation: true),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: false), sglang: .init(locations: .absent),
      prototypeTransformers: ["5.23.0"]))

  private static let sharedWidth = Key("shared_intermediate_size", default: 0)
}
