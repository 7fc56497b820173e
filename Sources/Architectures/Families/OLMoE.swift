// SPDX-License-Identifier: Apache-2.0
//
// OLMoE-1B-7B (Allen Institute for AI).

import Routing

extension Family {
  static let olmoe = Family(
    name: "olmoe", title: "OLMoE", tier: .inspectable,
    mixer: .groupedQuery(
      GroupedQueryTraits(norm: .wholeWidth, biases: .attentionBias(output: true))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["olmoe"], architectures: ["OlmoeForCausalLM"],
      experts: .experts(default: 64), topK: .topK(default: 8),
      expertWidth: .denseWidth(default: 2048), sharedExperts: nil, sparsity: .all,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(Key("norm_topk_prob", default: false))),
      caveats: [
        SharedCaveats.llamaCppNormalises(false), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: GGUFTraits(
      architecture: "olmoe", expertWidthFallback: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false))))
}
