// SPDX-License-Identifier: Apache-2.0
//
// The language models of Llama-4 (Meta): an expert reads what the sigmoid of its logit multiplies.
// Not run: attention in chunks, experts of weighted inputs.

import Routing

extension Family {
  static let llama4 = Family(
    name: "llama4", title: "Llama-4", activation: .siluOfWeightedInput,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["llama4_text"],
      architectures: ["Llama4ForCausalLM", "Llama4ForConditionalGeneration"],
      defaults: ClassDefaults(
        hiddenSize: 5120, layers: 48, heads: 40, vocabulary: 202_048, context: 131_072,
        epsilon: 1e-5),
      experts: Key("num_local_experts", default: 16), topK: .topK(default: 1),
      expertWidth: .denseWidth(default: 8192), sharedExperts: nil,
      sparsity: .listed(
        "moe_layers",
        otherwise: .interval(
          Key("interleave_moe_layer_step", default: 1), start: Key([], default: 0), end: nil)),
      names: TensorNames(
        gate: ["feed_forward.router.weight"], containers: ["feed_forward.experts"],
        shared: ["feed_forward.shared_expert"], published: .fused),
      transposesExperts: true,
      routing: RoutingTraits(scoring: .fixed(.sigmoid), normalise: .fixed(false))),
    gguf: GGUFTraits(
      architecture: "llama4",
      sparsity: .interval(
        Key("interleave_moe_layer_step", default: nil), start: Key([], default: 0), end: nil),
      convertsFused: true, routing: .llamaCpp(.fixed(.sigmoid), normalise: .fixed(false))))
}
