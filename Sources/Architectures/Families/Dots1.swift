// SPDX-License-Identifier: Apache-2.0
//
// dots.llm1 (rednote).

import Routing

extension Family {
  static let dots1 = Family(
    name: "dots1", title: "dots.llm1", tier: .inspectable,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["dots1"], architectures: ["Dots1ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4608, layers: 62, heads: 32, vocabulary: 152_064, context: 2048, epsilon: 1e-6),
      experts: Key("num_local_experts", "n_routed_experts", default: nil),
      topK: .topK(default: nil),
      expertWidth: .expertWidth(default: 1408),
      sharedExperts: Key("n_shared_experts", default: nil), sparsity: .firstDense(default: 0),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 1, kept: 1, normalise: .normTopK(default: false, null: .means(false)), scale: 1)),
    gguf: GGUFTraits(
      architecture: "dots1", sparsity: .ggufLeadingDense, selectionBias: .optional,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}
