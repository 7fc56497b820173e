// SPDX-License-Identifier: Apache-2.0
//
// Kimi-Linear (Moonshot AI): DeepSeek-V3's routing. Not run: Kimi delta attention.

import Routing

extension Family {
  static let kimiLinear = Family(
    name: "kimi_linear", title: "Kimi-Linear",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["kimi_linear"], architectures: ["KimiLinearForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2304, layers: 27, heads: 32, vocabulary: 163_840, context: 1_048_576,
        epsilon: 1e-5),
      experts: Key("num_experts", "num_local_experts", default: 256),
      topK: Key("num_experts_per_token", "num_experts_per_tok", default: 8),
      expertWidth: .expertWidth(default: 1024),
      sharedExperts: Key("num_shared_experts", "n_shared_experts", default: 1),
      sparsity: .named("mlp_layer_types", otherwise: .firstDense(default: 1)),
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.gate.weight"],
        selectionBias: [
          "block_sparse_moe.gate.e_score_correction_bias", "mlp.gate.e_score_correction_bias",
        ],
        containers: ["block_sparse_moe.experts", "mlp.experts"],
        shared: ["block_sparse_moe.shared_experts", "mlp.shared_experts"], published: .numbered),
      selectionBias: .expected,
      routing: .renamedSigmoidGroups(count: 1, kept: 1, scale: 2.446)),
    gguf: GGUFTraits(
      architecture: "kimi-linear", sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCpp(
        .gatingFunction(default: nil), normalise: .fixed(true),
        scale: .key(Key("expert_weights_scale", default: 0), zeroIsOne: true))))
}
