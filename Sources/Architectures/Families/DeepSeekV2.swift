// SPDX-License-Identifier: Apache-2.0
//
// DeepSeek-V2, V2-Lite, and the Coder and Chat releases.

import ByteStorage
import Checkpoints
import Routing

extension Family {
  static let deepseekV2 = Family(
    name: "deepseek_v2", title: "DeepSeek-V2",
    mixer: .deepSeek(interleaved: .fixed(true), rotatedSize: nil),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["deepseek_v2"], architectures: ["DeepseekV2ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 32, heads: 32, vocabulary: 102_400, context: 2048, epsilon: 1e-6),
      experts: Key("num_experts", "n_routed_experts", default: 64), topK: .topK(default: nil),
      expertWidth: .expertWidth(default: 1407), denseWidth: .denseWidth(default: 11_008),
      sharedExperts: Key("n_shared_experts", default: 2), sparsity: .firstDense(default: 0),
      names: .deepSeek,
      routing: RoutingTraits(
        scoring: .fixed(.softmax),
        // transformers 5.23 does not read norm_topk_prob for this family.
        normalise: .fixed(false),
        scale: .key(Key("routed_scaling_factor", default: 1), zeroIsOne: false),
        groups: RoutingTraits.Groups(
          count: Key("n_group", default: nil), kept: Key("topk_group", default: nil), score: .max,
          mask: .zero,
          method: (
            key: Key("topk_method", default: "greedy"), on: "group_limited_greedy", off: "greedy"
          ))),
      made: ClassTraits(
        fields: .deepSeek.adding([
          "attention_dropout": [.null, .number], "head_dim": .optionalInteger, "mlp_bias": .flag,
          "n_group": .optionalInteger, "num_experts": .integer, "topk_group": .optionalInteger,
          "topk_method": [.null, .text],
        ]),
        shared: .counted("mlp.shared_experts"), denseBiases: Key("mlp_bias", default: false),
        headsDivideHidden: true),
      uncomputed: [UncomputedKey("mlp_bias", off: ["false"])],
      caveats: [ignoredNorm, groupScore]),
    gguf: .deepseek2(
      publishedGroups: "DeepSeek-V2 uses 3 of 8 groups, V2-Lite none",
      caveats: [
        DeepSeekCaveats.absentGroups, ggufGroupScore, ggufNorm, DeepSeekCaveats.absentScale,
      ]),
    forms: FormTraits(
      classPrefix: "RegateDeepseekV2", official: .differs(DeepSeekCaveats.officialRouting)),
    runtimes: RuntimeTraits(
      mlx: .init(ranStock: true),
      vllm: .init(refusesStrayBias: true, stock: ["0.32.0"], plugin: ["0.32.0"], hasEPLB: true),
      sglang: .init(refusesPrototype: true, locations: .taken)))

  private static let ignoredNorm: Caveat = { subject throws(RegateError) in
    guard
      try subject.settings.bool(
        .normTopK(default: false, null: .means(false))) == true
    else {
      return nil
    }
    return "norm_topk_prob is true: transformers 5.23 ignores it for DeepSeek-V2, vLLM and"
      + " llama.cpp renormalise and then scale, the original code renormalises instead of scaling"
  }

  private static let groupScore: Caveat = { subject in
    guard subject.rule.groups != nil else { return nil }
    return "transformers and vLLM score an expert group by its best expert, llama.cpp by the sum of"
      + " its two best: a GGUF of this model can choose other experts"
  }

  private static let ggufGroupScore: Caveat = { subject in
    guard subject.settings.has("expert_group_count"), subject.rule.groups != nil else {
      return nil
    }
    return "llama.cpp scores an expert group by the sum of its two best experts, transformers"
      + " scores DeepSeek-V2's by the best one: this file and its safetensors source can choose"
      + " different experts"
  }

  private static let ggufNorm: Caveat = { subject in
    guard subject.read("expert_weights_norm")?.value == "true" else { return nil }
    return "\(subject.name("expert_weights_norm")) is true: llama.cpp renormalises the weights,"
      + " transformers 5.23 does not for DeepSeek-V2"
  }
}
