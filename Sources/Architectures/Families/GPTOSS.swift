// SPDX-License-Identifier: Apache-2.0
//
// gpt-oss-20b and 120b (OpenAI).

import Routing

extension Family {
  static let gptOSS = Family(
    name: "gpt_oss", title: "GPT-OSS", activation: .clampedSwiGLU,
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 8), headSize: Key("head_dim", default: 64),
        biases: ProjectionBiases(key: Key("attention_bias", default: true), output: true),
        window: .alternating(Key("sliding_window", default: 128)), sinks: true,
        rope: RopeTraits(
          ggufRotatesWholeHeads: true, defaultTheta: 150_000, needsParameters: true))),
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
      transposesExperts: true, interleavesGateUp: true,
      routing: RoutingTraits(scoring: .fixed(.softmaxOfSelected), normalise: .fixed(false)),
      made: ClassTraits(
        fields: [
          "attention_bias": .flag, "num_experts": .integer, "num_local_experts": .integer,
          "router_aux_loss_coef": .number, "sliding_window": .integer, "swiglu_alpha": .number,
          "swiglu_limit": .number,
        ],
        expertBiases: true),
      caveats: [ggufWindows, ggufRamp]),
    gguf: GGUFTraits(
      architecture: "gpt-oss", gateBias: true, feedForwardNorm: "post_attention_norm",
      convertsFused: true,
      routing: .llamaCpp(.fixed(.softmaxOfSelected), normalise: .fixed(false)),
      made: GGUFClassTraits(
        wasRun: true, output: .required, headsAreRotated: true, rotatesWholeHeads: false,
        outputProjectionBias: .required, sinks: true,
        expertBiases: true,
        required: [
          "expert_feed_forward_length": .u32PerLayer, "attention.sliding_window": .u32,
        ]),
      // Another base of the rotation on layers with a window, and other sizes of their heads.
      uncomputed: [
        UncomputedKey("rope.freq_base_swa", off: []),
        UncomputedKey("rope.dimension_count_swa", off: []),
        UncomputedKey("attention.key_length_swa", off: []),
        UncomputedKey("attention.value_length_swa", off: []),
      ]),
    forms: FormTraits(classPrefix: "RegateGptOss"),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: false), sglang: .init(locations: .taken),
      prototypeTransformers: ["5.23.0"]))

  private static let ggufWindows: Caveat = { subject in
    let usual = (0..<subject.layerCount).map {
      $0 % 2 == 0 ? "sliding_attention" : "full_attention"
    }
    guard let types = subject.settings.strings("layer_types"), types != usual else { return nil }
    return "\(subject.name("layer_types")) does not alternate, but llama.cpp's converter leaves it"
      + " out: in a GGUF of this model all even layers, and no others, have a window"
  }

  private static let ggufRamp: Caveat = { subject in
    let scaling = ["rope_scaling", "rope_parameters"].first {
      subject.settings.nested($0)?.text(of: "truncate") == "false"
    }
    guard let scaling else { return nil }
    return "\(subject.name(scaling)).truncate is false, but llama.cpp always rounds the borders of"
      + " YaRN's ramp: a GGUF of this model rotates queries and keys a little otherwise"
  }
}
