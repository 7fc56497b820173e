// SPDX-License-Identifier: Apache-2.0
//
// gpt-oss-20b and 120b (OpenAI).

import Routing

extension Family {
  static let gptOSS = Family(
    name: "gpt_oss", title: "GPT-OSS", tier: .inspectable, activation: .clampedSwiGLU,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["gpt_oss"], architectures: ["GptOssForCausalLM"],
      experts: .experts(default: 128), topK: .topK(default: 4),
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
