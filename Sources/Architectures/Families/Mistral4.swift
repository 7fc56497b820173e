// SPDX-License-Identifier: Apache-2.0
//
// Mistral Small 4 (Mistral AI): DeepSeek's attention with queries that grow with their position,
// and routing by softmax in groups. Published inside Mistral3ForConditionalGeneration, whose vision
// tower is left alone.

import Routing

extension Family {
  static let mistral4 = Family(
    name: "mistral4", title: "Mistral Small 4",
    mixer: .latent(
      LatentAttentionTraits(
        sizes: LatentSizes(nope: 64, queryRank: 1024, keyRank: 256),
        biases: .attentionBias(output: true), rotatesPartOfHead: true,
        rope: RopeTraits(
          interleaved: .key(Key("rope_interleave", default: true, null: .means(false))),
          ggufInterleaved: true, growsSoftmax: true, readsYarnLogMultiplier: true,
          growsQueries: true, ggufGrowsQueries: true, needsParameters: true))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["mistral4"], architectures: ["Mistral4ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 36, heads: 32, vocabulary: 131_072, context: 1_048_576,
        epsilon: 1e-6),
      experts: Key("num_local_experts", "n_routed_experts", default: 128),
      topK: .topK(default: 4), expertWidth: .expertWidth(default: 2048),
      denseWidth: .denseWidth(default: 12_288),
      sharedExperts: Key("n_shared_experts", default: 1), sparsity: .firstDense(default: 0),
      names: TensorNames(
        gate: ["mlp.gate.weight"], containers: ["mlp.experts"], shared: ["mlp.shared_experts"],
        published: .fused),
      routing: RoutingTraits(
        scoring: .fixed(.softmax),
        normalise: .key(.normTopK(default: true, null: .means(false))),
        guarding: .fixed(.add(1e-20)),
        scale: .key(Key("routed_scaling_factor", default: 1), zeroIsOne: false),
        groups: RoutingTraits.Groups(
          count: Key("n_group", default: 1), kept: Key("topk_group", default: 1),
          score: .topTwoSum, mask: .zero)),
      made: ClassTraits(
        fields: .deepSeek.adding([
          "n_group": .optionalInteger, "num_local_experts": .integer,
          "rope_interleave": .optionalFlag, "topk_group": .optionalInteger,
        ]), shared: .counted("mlp.shared_experts"))),
    gguf: .deepseek2("mistral4", caveats: []),
    forms: FormTraits(
      classPrefix: "RegateMistral4",
      wrapper: WrapperClasses(modelType: "mistral3", classPrefix: "RegateMistral3")),
    runtimes: RuntimeTraits(prototypeTransformers: ["5.23.0"]))
}
