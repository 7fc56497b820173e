// SPDX-License-Identifier: Apache-2.0
//
// gpt-oss-20b and 120b (OpenAI).

import Routing

extension Family {
  static let gptOSS = Family(
    name: "gpt_oss", title: "GPT-OSS", activation: .clampedSwiGLU,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["gpt_oss"], architectures: ["GptOssForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2880, layers: 36, heads: 64, vocabulary: 201_088, context: 131_072,
        epsilon: 1e-5),
      experts: Key("num_experts", "num_local_experts", default: 128), topK: .topK(default: 4),
      expertWidth: .denseWidth(default: 2880), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["mlp.router.weight"], gateBias: ["mlp.router.bias"], containers: ["mlp.experts"],
        published: .fused),
      transposesExperts: true,
      routing: RoutingTraits(scoring: .fixed(.softmaxOfSelected), normalise: .fixed(false)),
      made: ClassTraits(
        fields: [
          "attention_bias": .flag, "num_experts": .integer, "num_local_experts": .integer,
          "router_aux_loss_coef": .number, "sliding_window": .integer, "swiglu_alpha": .number,
          "swiglu_limit": .number,
        ],
        attention: GroupedQueryTraits(
          keyHeads: Key("num_key_value_heads", default: 8),
          headSize: Key("head_dim", default: 64),
          biases: ProjectionBiases(key: Key("attention_bias", default: true), output: true),
          window: .always(Key("sliding_window", default: 128))),
        sinks: true, expertBiases: true)),
    gguf: GGUFTraits(
      architecture: "gpt-oss", gateBias: true, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmaxOfSelected), normalise: .fixed(false)),
      made: GGUFClassTraits(
        output: .required, headsAreRotated: true, rotatesWholeHeads: false,
        outputProjectionBias: .required, sinks: true,
        expertBiases: true,
        required: [
          "expert_feed_forward_length": .u32PerLayer, "attention.sliding_window": .u32,
        ])),
    runtimes: RuntimeTraits(vllm: .init(hasEPLB: false), sglang: .init(locations: .taken)))
}
