// SPDX-License-Identifier: Apache-2.0
//
// Trinity (Arcee AI). Not run: gated attention between four norms.

import Routing

extension Family {
  static let afmoe = Family(
    name: "afmoe", title: "AFMoE",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["afmoe"], architectures: ["AfmoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 32, heads: 16, vocabulary: 200_192, context: 16_384,
        epsilon: 1e-5),
      experts: Key("num_experts", default: 64), topK: .topK(default: 6),
      expertWidth: .expertWidth(default: 1408),
      sharedExperts: Key("num_shared_experts", default: 2),
      sparsity: .afterLeadingDense(Key("num_dense_layers", default: 1)),
      names: TensorNames(
        gate: ["mlp.router.gate.weight"], selectionBias: ["mlp.expert_bias"],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .fixed(.sigmoid), normalise: .fixed(true), guarding: .fixed(.add(1e-20)),
        scale: .key(Key("route_scale", default: 1), zeroIsOne: false))),
    gguf: GGUFTraits(
      architecture: "afmoe", sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCppFromKeys(.gatingFunction(default: .sigmoid)), caveats: [absentNorm]))

  /// transformers' configuration has no such key: what it saved is converted without it.
  private static let absentNorm: Caveat = { subject in
    guard !subject.rule.normalise else { return nil }
    return "\(subject.name("expert_weights_norm")) is not true: llama.cpp does not renormalise the"
      + " weights, transformers does; convert the model with \"route_norm\": true in config.json"
  }
}
