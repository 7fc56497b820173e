// SPDX-License-Identifier: Apache-2.0
//
// GLM-4.7-Flash (Zhipu AI): DeepSeek-V3's attention and routing with layers named one by one. Its
// GGUF files say `deepseek2`.

import Routing

extension Family {
  static let glm4Lite = Family(
    name: "glm4_moe_lite", title: "GLM-4.7-Flash",
    mixer: .deepSeek(
      interleaved: .key(Key("rope_interleave", default: true)), rotatedSize: "head_dim",
      sizes: LatentSizes(nope: 192, value: 256, queryRank: 768), readsPart: true),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["glm4_moe_lite"], architectures: ["Glm4MoeLiteForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 2048, layers: 47, heads: 20, vocabulary: 154_880, context: 202_752,
        epsilon: 1e-5),
      experts: Key("num_local_experts", "n_routed_experts", default: 64), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 1536), denseWidth: .denseWidth(default: 10_240),
      sharedExperts: Key("n_shared_experts", default: 1),
      sparsity: .named("mlp_layer_types", otherwise: .after(1)),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 1, kept: 1, normalise: .normTopK(default: true), scale: 1.8),
      made: ClassTraits(
        fields: .deepSeek.adding([
          "head_dim": [.integer, .number, .flag], "mlp_layer_types": [.null, .texts],
          "n_group": .integer, "norm_topk_prob": .flag, "num_key_value_heads": .integer,
          "num_local_experts": .integer, "num_mtp_layers": .integer, "pretraining_tp": .integer,
          "rope_interleave": .flag, "topk_group": .integer,
        ]), shared: .counted("mlp.shared_experts")),
      mtpLayers: .mtpLayers),
    gguf: .deepseek2(
      publishedGroups: "GLM-4.7-Flash has none", recognises: DeepSeekGGUF.isGLM47Flash,
      caveats: [DeepSeekCaveats.absentScale]),
    forms: FormTraits(classPrefix: "RegateGlm4MoeLite"),
    runtimes: RuntimeTraits(
      vllm: .init(hasEPLB: true), sglang: .init(locations: .taken),
      prototypeTransformers: ["5.23.0"]))
}
