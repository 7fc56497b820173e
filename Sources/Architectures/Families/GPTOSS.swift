// SPDX-License-Identifier: Apache-2.0
//
// gpt-oss-20b and 120b (OpenAI).

import Routing

extension Family {
  static let gptOSS = Family(
    name: "gpt_oss", title: "GPT-OSS", tier: .inspectable, activation: .clampedSwiGLU,
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
      routing: RoutingTraits(scoring: .fixed(.softmaxOfSelected), normalise: .fixed(false))),
    gguf: GGUFTraits(
      architecture: "gpt-oss", gateBias: true, convertsFused: true,
      routing: .llamaCpp(.fixed(.softmaxOfSelected), normalise: .fixed(false))))
}
