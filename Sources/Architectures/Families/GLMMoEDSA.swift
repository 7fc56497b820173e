// SPDX-License-Identifier: Apache-2.0
//
// GLM-5, 5.1 and 5.2 (Zhipu AI): the attention of DeepSeek-V3.2, shared between layers in 5.2.

import Routing

extension Family {
  static let glmDSA = Family(
    name: "glm_moe_dsa", title: "GLM-5",
    // Whatever the configuration says of them.
    mixer: .deepSeek(
      interleaved: .fixed(true), rotatedSize: nil,
      sizes: LatentSizes(nope: 192, value: 256, queryRank: 2048), readsYarnLogMultiplier: false,
      indexer: SparseIndexer(heads: Key("index_n_heads", default: 32), isShared: true)),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["glm_moe_dsa"], architectures: ["GlmMoeDsaForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 6144, layers: 78, heads: 64, vocabulary: 154_880, context: 202_752,
        epsilon: 1e-5),
      experts: Key("num_experts", "num_local_experts", "n_routed_experts", default: 256),
      topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 2048), denseWidth: .denseWidth(default: 12_288),
      sharedExperts: Key("n_shared_experts", default: 1),
      sparsity: .named(
        "mlp_layer_types", otherwise: .afterLeadingDense(Key("first_k_dense_replace", default: 3))),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 1, kept: 1, normalise: .normTopK(default: true), scale: 2.5),
      made: ClassTraits(
        fields: .deepSeek.adding(.indexer), shared: .counted("mlp.shared_experts")),
      mtpLayers: .mtpLayers),
    gguf: .deepseek2(
      "glm-dsa", indexes: true, scoring: .gatingFunction(default: .sigmoid),
      publishedGroups: "GLM-5 has none",
      caveats: [DeepSeekCaveats.absentScale]),
    forms: FormTraits(classPrefix: "RegateGlmMoeDsa"),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}
