// SPDX-License-Identifier: Apache-2.0
//
// MiniMax-M2 and its updates (MiniMax).

import Routing

extension Family {
  static let miniMaxM2 = Family(
    name: "minimax_m2", title: "MiniMax-M2",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 8),
        headSize: Key("head_dim", default: 128), norm: .wholeWidth,
        rope: RopeTraits(
          defaultTheta: 5_000_000, partialRotation: 1, rotatedSize: .optional("rotary_dim")))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["minimax_m2"], architectures: ["MiniMaxM2ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 3072, layers: 62, heads: 48, vocabulary: 200_064, context: 196_608,
        epsilon: 1e-6),
      experts: Key("num_experts", "num_local_experts", default: 256), topK: .topK(default: 8),
      expertWidth: .denseWidth(default: 1536), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.gate.weight"],
        selectionBias: [
          "block_sparse_moe.e_score_correction_bias", "mlp.e_score_correction_bias",
        ],
        containers: ["block_sparse_moe.experts", "mlp.experts"], published: .numbered),
      selectionBias: .expected,
      routing: RoutingTraits(scoring: .fixed(.sigmoid), normalise: .fixed(true)),
      made: ClassTraits(
        fields: [
          "num_experts": .integer, "num_local_experts": .integer, "router_aux_loss_coef": .number,
          "router_jitter_noise": .number,
        ], rotatesPart: true)),
    gguf: GGUFTraits(
      architecture: "minimax-m2", expertWidth: .feedForward, selectionBias: .expected,
      routing: .llamaCpp(.gatingFunction(default: nil), normalise: .fixed(true)),
      made: GGUFClassTraits(
        output: .required, rotatesWholeHeads: false, headNorms: .wholeWidth,
        expertsAreDenseWide: true,
        required: ["expert_feed_forward_length": .u32PerLayer],
        optional: ["expert_gating_func": .u32])),
    forms: FormTraits(classPrefix: "RegateMiniMaxM2", guardsActivation: true),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: false), sglang: .init(locations: .taken),
      prototypeTransformers: ["5.23.0"]))
}
