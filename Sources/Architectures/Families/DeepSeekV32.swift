// SPDX-License-Identifier: Apache-2.0
//
// DeepSeek-V3.2 and V3.2-Exp: DeepSeek-V3 with sparse attention.

import Routing

extension Family {
  static let deepseekV32 = Family(
    name: "deepseek_v32", title: "DeepSeek-V3.2",
    // Whatever the configuration says of them.
    mixer: .deepSeek(
      interleaved: .fixed(true), rotatedSize: nil,
      indexer: SparseIndexer(heads: Key("index_n_heads", default: 64))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["deepseek_v32"], architectures: ["DeepseekV32ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 7168, layers: 61, heads: 128, vocabulary: 129_280, context: 163_840,
        epsilon: 1e-6),
      experts: Key("num_experts", "num_local_experts", "n_routed_experts", default: 256),
      topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 2048), denseWidth: .denseWidth(default: 18_432),
      sharedExperts: Key("n_shared_experts", default: 1),
      sparsity: .named(
        "mlp_layer_types", otherwise: .afterLeadingDense(Key("first_k_dense_replace", default: 3))),
      names: .deepSeek, selectionBias: .expected,
      routing: .sigmoidGroups(
        count: 8, kept: 4, normalise: .normTopK(default: true), scale: 2.5),
      made: ClassTraits(
        fields: .deepSeek.adding(.indexer), shared: .counted("mlp.shared_experts")),
      mtpLayers: .mtpLayers),
    gguf: .deepseek2(
      "deepseek32", indexes: true, scoring: .gatingFunction(default: nil),
      publishedGroups: "DeepSeek-V3.2 uses 4 of 8 groups",
      caveats: [DeepSeekCaveats.absentGroups, DeepSeekCaveats.absentScale]),
    forms: FormTraits(classPrefix: "RegateDeepseekV32"),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}
