// SPDX-License-Identifier: Apache-2.0
//
// The language model of MiniMax-M3 (MiniMax). Not run: block-sparse attention by an indexer.

import Routing

extension Family {
  static let miniMaxM3 = Family(
    name: "minimax_m3", title: "MiniMax-M3", activation: .clampedSwiGLU,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["minimax_m3_vl_text"],
      architectures: ["MiniMaxM3SparseForConditionalGeneration", "MiniMaxM3VLForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 6144, layers: 60, heads: 64, vocabulary: 200_064, context: 524_288,
        epsilon: 1e-6),
      experts: Key("num_experts", "num_local_experts", default: 128), topK: .topK(default: 4),
      expertWidth: .denseWidth(default: 3072), sharedExperts: nil,
      sparsity: .named("mlp_layer_types", otherwise: .flagged("moe_layer_freq", otherwise: .all)),
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.gate.weight"],
        selectionBias: [
          "block_sparse_moe.e_score_correction_bias", "mlp.gate.e_score_correction_bias",
        ],
        containers: ["block_sparse_moe.experts", "mlp.experts"],
        shared: ["block_sparse_moe.shared_experts", "mlp.shared_experts"], published: .numbered),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .fixed(.sigmoid), normalise: .fixed(true),
        scale: .key(Key("routed_scaling_factor", default: 2), zeroIsOne: false))),
    gguf: GGUFTraits(
      architecture: "minimax-m3", sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}
