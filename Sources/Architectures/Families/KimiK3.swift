// SPDX-License-Identifier: Apache-2.0
//
// The language model of Kimi-K3 (Moonshot AI): Kimi-Linear's type, with experts between two
// projections. Keys and names are those of llama.cpp's converter. Not run: SiTU, and attention to
// the layers before.

import Routing

extension Family {
  static let kimiK3 = Family(
    name: "kimi_k3", title: "Kimi-K3", activation: .situ,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["kimi_k3"], borrowedTypes: ["kimi_linear"],
      unregisteredTypes: ["kimi_k3"],
      architectures: ["KimiK3ForConditionalGeneration"],
      defaults: ClassDefaults(
        hiddenSize: 7168, layers: 93, heads: 64, vocabulary: 163_840, context: 1_048_576,
        epsilon: 1e-5),
      experts: Key("num_experts", default: nil),
      topK: Key("num_experts_per_token", "num_experts_per_tok", default: nil),
      expertWidth: .expertWidth(default: nil), sharedExperts: Key("num_shared_experts", default: 1),
      latentSize: .optional("routed_expert_hidden_size"), sparsity: .firstDense(default: 1),
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight"],
        selectionBias: ["block_sparse_moe.gate.e_score_correction_bias"],
        containers: ["block_sparse_moe.experts"], common: ["block_sparse_moe.routed_expert_"],
        shared: ["block_sparse_moe.shared_experts"],
        published: .numbered),
      selectionBias: .expected,
      routing: .renamedSigmoidGroups(count: 1, kept: 1, scale: 1)
        .expecting("sigmoid", of: "moe_router_activation_func")),
    gguf: GGUFTraits(
      architecture: "kimi-k3", latentSize: .optional("expert_latent_length"),
      sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}
