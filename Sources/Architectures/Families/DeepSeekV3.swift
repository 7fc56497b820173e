// SPDX-License-Identifier: Apache-2.0
//
// DeepSeek-V3, R1 and Kimi-K2, whose `architectures` say DeepseekV3ForCausalLM, and the language
// model of Kimi-K2.5.

import ByteStorage
import Checkpoints
import Routing

extension Family {
  static let deepseekV3 = Family(
    name: "deepseek_v3", title: "DeepSeek-V3",
    mixer: .deepSeek(
      interleaved: .key(Key("rope_interleave", default: true, null: .means(false))),
      rotatedSize: "head_dim"),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["deepseek_v3", "kimi_k2"], unregisteredTypes: ["kimi_k2"],
      architectures: ["DeepseekV3ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 7168, layers: 61, heads: 128, vocabulary: 129_280, context: 4096, epsilon: 1e-6),
      experts: Key("num_local_experts", "n_routed_experts", default: 256), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 2048), denseWidth: .denseWidth(default: 18_432),
      sharedExperts: Key("n_shared_experts", default: 1), sparsity: .firstDense(default: 3),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 8, kept: 4, normalise: .normTopK(default: true, null: .means(false)), scale: 2.5),
      made: ClassTraits(
        fields: .deepSeek.adding([
          "attention_dropout": [.null, .integer, .number], "head_dim": [.integer, .number, .flag],
          "n_group": .integer, "num_local_experts": .integer, "num_mtp_layers": .integer,
          "rope_interleave": .optionalFlag, "topk_group": .integer,
        ]), shared: .counted("mlp.shared_experts")),
      mtpLayers: .mtpLayers,
      caveats: [
        unreadKey("scoring_func", "sigmoid", readers: "vLLM and llama.cpp's converter"),
        unreadKey("topk_method", "noaux_tc", readers: "vLLM"),
      ]),
    gguf: .deepseek2(
      publishedGroups: "DeepSeek-V3 and R1 use 4 of 8 groups, Kimi-K2 none",
      recognises: DeepSeekGGUF.isV3,
      caveats: [
        ggufGating, DeepSeekCaveats.absentGroups, ggufNorm, DeepSeekCaveats.absentScale,
      ]),
    forms: FormTraits(
      classPrefix: "RegateDeepseekV3", official: .differs(DeepSeekCaveats.officialRouting)),
    runtimes: RuntimeTraits(
      mlx: .init(decodes: ["fp8"], ranStock: true),
      vllm: .init(
        biasMethod: "noaux_tc", stock: ["0.31.0", "0.32.0"], prototype: ["0.31.0", "0.32.0"],
        plugin: ["0.31.0", "0.32.0"], hasEPLB: true),
      sglang: .init(refusesPrototype: true, locations: .taken),
      prototypeTransformers: RuntimeTraits.trainedTransformers))

  /// transformers takes `expected` whatever the key says.
  private static func unreadKey(_ key: String, _ expected: String, readers: String) -> Caveat {
    { subject throws(RegateError) in
      let found = try subject.settings.string(.optional(key))
      guard found != expected else { return nil }
      let state = found.map { "is \"\($0)\"" } ?? "is absent"
      return "\(key) \(state): transformers routes DeepSeek-V3 by \(expected) all the same, but"
        + " \(readers) read the key and need \"\(expected)\""
    }
  }

  /// A file without a gating function: softmax, whatever the model was trained with.
  private static let ggufGating: Caveat = { subject in
    let value = subject.read("expert_gating_func")
    guard value == nil || value?.isDefault == true || value?.value == "0",
      subject.rule.scoring == .softmax
    else { return nil }
    return "\(subject.name("expert_gating_func")) is absent: llama.cpp routes this file by softmax,"
      + " although its selection bias (exp_probs_b) shows a model that was trained with sigmoid"
      + " (DeepSeek-V3, Kimi-K2); convert it again, or expect wrong experts and weights"
  }

  private static let ggufNorm: Caveat = { subject in
    guard subject.read("expert_weights_norm")?.isDefault ?? true else { return nil }
    return "\(subject.name("expert_weights_norm")) is absent: llama.cpp does not renormalise the"
      + " weights, DeepSeek-V3 was trained with renormalised ones"
  }
}
