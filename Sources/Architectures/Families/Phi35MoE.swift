// SPDX-License-Identifier: Apache-2.0
//
// Phi-3.5-MoE (Microsoft).

import Routing

extension Family {
  static let phi = Family(
    name: "phimoe", title: "Phi-3.5-MoE",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 8), biases: .attentionBias(output: true),
        window: .always(.optional("sliding_window")),
        rope: RopeTraits(defaultTheta: 1_000_000, longRopeMultiplier: "short_mscale"))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["phimoe"], architectures: ["PhiMoEForCausalLM", "PhimoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 32, heads: 32, vocabulary: 32_064, context: 131_072, epsilon: 1e-5
      ),
      experts: Key("num_local_experts", default: 16), topK: .topK(default: 2),
      expertWidth: .denseWidth(default: 6400), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.router.weight"],
        containers: ["block_sparse_moe.experts", "mlp.experts"], published: .numbered),
      routing: RoutingTraits(
        scoring: .fixed(.sparseMixer), normalise: .fixed(false),
        jitter: Key("router_jitter_noise", default: 0.01)),
      made: ClassTraits(
        fields: [
          "attention_bias": .flag, "input_jitter_noise": .number, "lm_head_bias": .flag,
          "num_local_experts": .integer, "router_aux_loss_coef": .number,
          "router_jitter_noise": .number, "sliding_window": .optionalInteger,
        ],
        headBias: Key("lm_head_bias", default: false), layerNorms: true,
        scaledRotationNumbers: ["short_mscale", "long_mscale"]),
      caveats: [otherRule, otherNorm]),
    gguf: GGUFTraits(
      architecture: "phimoe", expertWidth: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      made: GGUFClassTraits(
        output: .required, outputBias: true, normBiases: true, queriesAreHidden: true,
        rotatesWholeHeads: false,
        outputProjectionBias: .required, rotationFactors: .longRope)),
    forms: FormTraits(classPrefix: "RegatePhimoe", guardsActivation: true),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: false), sglang: .init(locations: .absent),
      prototypeTransformers: ["5.23.0"]))

  private static let otherRule: Caveat = { _ in
    "transformers and vLLM route Phi-3.5-MoE by sparsemixer, llama.cpp by softmax with"
      + " renormalised weights: a GGUF of this model weighs experts differently"
  }

  private static let otherNorm: Caveat = { _ in
    "transformers has LayerNorms in Phi-3.5-MoE, llama.cpp RMS norms, which do not take the mean"
      + " away: a GGUF of this model computes other hidden states"
  }
}
