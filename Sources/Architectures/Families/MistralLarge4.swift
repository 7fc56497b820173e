// SPDX-License-Identifier: Apache-2.0
//
// The language model of Mistral Large 4 (Mistral AI), under its own names. Not run: sparse
// attention whose softmax is scaled, and shared keys.

import Routing

extension Family {
  static let mistralLarge4 = Family(
    name: "mistral_large4", title: "Mistral Large 4",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["mistral_large4_text"], architectures: ["MistralLarge4ForConditionalGeneration"],
      defaults: ClassDefaults(
        hiddenSize: 6144, layers: 72, heads: 64, vocabulary: 204_800, context: 1_048_576,
        epsilon: 1e-5),
      experts: Key("num_local_experts", "n_routed_experts", default: 128), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 6144), sharedExperts: Key("n_shared_experts", default: 1),
      sparsity: .named("mlp_layer_types", otherwise: .firstDense(default: 1)),
      names: TensorNames(
        gate: ["gate.weight", "mlp.gate.weight"], containers: ["experts", "mlp.experts"],
        shared: ["shared_experts", "mlp.shared_experts"], published: .numbered),
      routing: RoutingTraits(
        scoring: .fixed(.softmax), normalise: .fixed(true), guarding: .fixed(.add(1e-20)),
        scale: .key(Key("routed_scaling_factor", default: 1), zeroIsOne: false),
        groups: RoutingTraits.Groups(
          count: Key("n_group", default: 1), kept: Key("topk_group", default: 1),
          score: .topTwoSum, mask: .zero))),
    gguf: .absent)
}
