// SPDX-License-Identifier: Apache-2.0
//
// Mixtral 8x7B and 8x22B (Mistral AI): the first family with experts in every layer.

import Routing

extension Family {
  static let mixtral = Family(
    name: "mixtral", title: "Mixtral",
    mixer: .groupedQuery(
      GroupedQueryTraits(
        keyHeads: Key("num_key_value_heads", default: 8),
        headSize: Key("head_dim", default: nil, null: .means(nil)),
        window: .always(.optional("sliding_window")),
        rope: RopeTraits(
          ggufInterleaved: true, ggufRotatesWholeHeads: true, defaultTheta: 1_000_000))),
    huggingFace: HuggingFaceTraits(
      modelTypes: ["mixtral"], architectures: ["MixtralForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 32, heads: 32, vocabulary: 32_000, context: 131_072, epsilon: 1e-5
      ),
      experts: Key("num_experts", "num_local_experts", default: 8), topK: .topK(default: 2),
      expertWidth: .denseWidth(default: 14336), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.gate.weight"],
        containers: ["block_sparse_moe.experts", "mlp.experts"], published: .numbered),
      routing: .softmax(normalise: .fixed(true)),
      made: ClassTraits(
        fields: [
          "head_dim": .optionalInteger, "num_experts": .integer, "num_local_experts": .integer,
          "router_aux_loss_coef": .number, "router_jitter_noise": .number,
          "sliding_window": .optionalInteger,
        ], scaledRotationNeedsHeadSize: true)),
    gguf: GGUFTraits(
      architecture: "llama", expertWidth: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true)),
      made: GGUFClassTraits(
        wasRun: true, outputProjectionBias: .optional, rotationFactors: .byScaling,
        gateIsOptional: true, optional: ["vocab_size": .u32])),
    forms: FormTraits(
      classPrefix: "RegateMixtral",
      guardsActivation: true,
      official: .supported(
        OfficialTraits(
          modelType: "mixtral_lpr", className: "MixtralForCausalLM_LPR", alignWeight: 0.05))),
    runtimes: RuntimeTraits(
      mlx: .init(ropeBase: 1e6, derivesHeadSize: true, ranStock: true),
      vllm: .init(
        stock: ["0.31.0", "0.32.0"], prototype: ["0.31.0", "0.32.0"], plugin: ["0.31.0", "0.32.0"],
        hasEPLB: true),
      sglang: .init(runsPrototypePackage: true, ranStock: true, locations: .absent),
      prototypeTransformers: RuntimeTraits.trainedTransformers))
}
