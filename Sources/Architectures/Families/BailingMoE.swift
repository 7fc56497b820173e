// SPDX-License-Identifier: Apache-2.0
//
// Ling and Ring (inclusionAI), which share a model type: the first ones, with Qwen's routing, and
// those of 2.0, with DeepSeek-V3's. Keys, names and rules are those of llama.cpp's converter, of
// SGLang and of MLX; transformers has neither. Not run.

import ByteStorage
import Routing

extension Family {
  static let bailingMoE = Family(
    name: "bailing_moe", title: "Ling",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["bailing_moe"], unregisteredTypes: ["bailing_moe"],
      architectures: ["BailingMoeForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 28, heads: 16, vocabulary: 126_464, context: 16_384,
        epsilon: 1e-5),
      experts: .bailingExperts, topK: .topK(default: nil), expertWidth: .expertWidth(default: nil),
      sharedExperts: Key("num_shared_experts", default: 0), sparsity: .firstDense(default: 0),
      names: TensorNames(
        gate: ["mlp.gate.weight"], containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      routing: .softmax(normalise: .key(.normTopK(default: true)))
        .expecting("softmax", of: "score_function")),
    gguf: GGUFTraits(
      architecture: "bailingmoe", routing: .llamaCppFromKeys(.fixed(.softmax))))

  static let bailingMoE2 = Family(
    name: "bailing_moe_v2", title: "Ling-2.0",
    huggingFace: HuggingFaceTraits(
      modelTypes: ["bailing_moe_v2"], borrowedTypes: ["bailing_moe"],
      unregisteredTypes: ["bailing_moe", "bailing_moe_v2"],
      architectures: ["BailingMoeV2ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 20, heads: 16, vocabulary: 157_184, context: 32_768,
        epsilon: 1e-6),
      experts: .bailingExperts, topK: .topK(default: nil), expertWidth: .expertWidth(default: nil),
      sharedExperts: Key("num_shared_experts", default: 0), sparsity: .firstDense(default: 0),
      names: TensorNames(
        gate: ["mlp.gate.weight"], selectionBias: ["mlp.gate.expert_bias"],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 8, kept: 4, normalise: .normTopK(default: true), scale: 1
      ).expecting("sigmoid", of: "score_function"),
      mtpLayers: Key("num_nextn_predict_layers", default: 0), caveats: [unmadeBias]),
    gguf: GGUFTraits(
      architecture: "bailingmoe2", sparsity: .ggufLeadingDense, selectionBias: .optional,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))

  /// The model's own code has the bias whatever the key says.
  private static let unmadeBias: Caveat = { subject throws(RegateError) in
    let key = "moe_router_enable_expert_bias"
    guard try subject.settings.bool(.optional(key)) != true else { return nil }
    return "\(subject.name(key)) is \(subject.settings.text(of: key) ?? "absent"): SGLang makes no"
      + " selection bias then, and refuses the sigmoid that this model routes by; the code that comes"
      + " with the model, and llama.cpp, add a bias that is stored"
  }
}

extension Key where Value == Int {
  fileprivate static let bailingExperts = Key("num_local_experts", "num_experts", default: nil)
}
