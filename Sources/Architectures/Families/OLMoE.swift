// SPDX-License-Identifier: Apache-2.0
//
// OLMoE-1B-7B (Allen Institute for AI).

import Routing

extension Family {
  static let olmoe = Family(
    name: "olmoe", title: "OLMoE",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: nil, null: .means(nil)), norm: .wholeWidth,
        biases: .attentionBias(output: true),
        rope: RopeTraits(ggufRotatesWholeHeads: true))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["olmoe"], architectures: ["OlmoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 16, heads: 16, vocabulary: 50_304, context: 4096, epsilon: 1e-5),
      experts: Key("num_local_experts", "num_experts", default: 64), topK: .topK(default: 8),
      expertWidth: .denseWidth(default: 2048), sharedExperts: nil, sparsity: .all,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(.normTopK(default: false))),
      made: ClassTraits(fields: [
        "attention_bias": .flag, "clip_qkv": [.null, .number], "norm_topk_prob": .flag,
        "num_experts": .integer, "num_local_experts": .integer,
        "num_key_value_heads": .optionalInteger, "router_aux_loss_coef": .number,
      ]),
      uncomputed: [UncomputedKey("clip_qkv", off: ["null"])],
      caveats: [
        SharedCaveats.llamaCppNormalises(false), SharedCaveats.llamaCppHasNoDenseLayers,
      ]),
    gguf: GGUFTraits(
      architecture: "olmoe", expertWidth: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false)),
      made: GGUFClassTraits(output: .required, queriesAreHidden: true, headNorms: .hidden)),
    forms: FormTraits(classPrefix: "RegateOlmoe"),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: false), sglang: .init(locations: .absent),
      prototypeTransformers: ["5.23.0"]))
}
