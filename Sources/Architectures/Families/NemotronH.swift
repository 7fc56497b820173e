// SPDX-License-Identifier: Apache-2.0
//
// Nemotron-3 (NVIDIA): blocks of one kind each, experts without gates, in larger models between two
// projections. Not run: Mamba-2.

import Routing

extension Family {
  static let nemotronH = Family(
    name: "nemotron_h", title: "Nemotron-H", activation: .squaredReLU,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["nemotron_h"], architectures: ["NemotronHForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 4, heads: 32, vocabulary: 131_072, context: 4096, epsilon: 1e-5),
      experts: Key("num_local_experts", "n_routed_experts", default: 8), topK: .topK(default: 2),
      expertWidth: .expertWidth(default: 7688), sharedExperts: Key("n_shared_experts", default: 1),
      latentSize: .optional("moe_latent_size"),
      sparsity: .blocks(
        "layers_block_type", word: "moe", letters: "hybrid_override_pattern", letter: "E"),
      names: TensorNames(
        gate: ["mixer.gate.weight"], selectionBias: ["mixer.gate.e_score_correction_bias"],
        containers: ["mixer.experts"], shared: ["mixer.shared_experts"]),
      selectionBias: .expected,
      routing: .sigmoidGroups(count: 1, kept: 1, normalise: .normTopK(default: true), scale: 1)),
    gguf: GGUFTraits(
      architecture: "nemotron_h_moe", expertWidth: .ownOrFeedForwardOverTopK,
      latentSize: .optional("moe_latent_size"), countsByLayer: true, sparsity: .stored,
      selectionBias: .expected, routing: .llamaCppFromKeys(.fixed(.sigmoid))))
}
