// SPDX-License-Identifier: Apache-2.0
//
// Tier 2: families that Regate inspects and does not convert.

import Routing

extension Family {
  static let qwen2 = Family(
    name: "qwen2_moe", title: "Qwen2-MoE", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["qwen2_moe"], architectures: ["Qwen2MoeForCausalLM"],
      experts: .experts(default: 60), topK: .topK(default: 4),
      expertWidth: .expertWidth(default: 1408), sharedExperts: nil, sparsity: .qwen,
      names: .qwen, routing: .softmax(normalise: .key(Key("norm_topk_prob", default: false)))),
    gguf: GGUFTraits(
      architecture: "qwen2moe", expertWidthFallback: .feedForwardOverTopK,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false))))

  static let olmoe = Family(
    name: "olmoe", title: "OLMoE", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["olmoe"], architectures: ["OlmoeForCausalLM"],
      experts: .experts(default: 64), topK: .topK(default: 8),
      expertWidth: .denseWidth(default: 2048), sharedExperts: nil, sparsity: .all,
      names: TensorNames(gate: ["mlp.gate.weight"], containers: ["mlp.experts"]),
      routing: .softmax(normalise: .key(Key("norm_topk_prob", default: false)))),
    gguf: GGUFTraits(
      architecture: "olmoe", expertWidthFallback: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false))))

  static let glm4 = Family(
    name: "glm4_moe", title: "GLM-4.5", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["glm4_moe"], architectures: ["Glm4MoeForCausalLM"],
      experts: .experts(default: 128), topK: .topK(default: 8),
      expertWidth: .expertWidth(default: 1408),
      sharedExperts: Key("n_shared_experts", default: 1), sparsity: .firstDense(default: 1),
      names: .deepseek, selectionBias: .expected,
      routing: .sigmoidNodes(count: 1, kept: 1, normalise: true, scale: 1)),
    gguf: GGUFTraits(
      architecture: "glm4moe", sparsity: .ggufLeadingDense, selectionBias: .expected,
      routing: .llamaCppFromKeys(.gatingFunction(default: .sigmoid))))

  static let gptOSS = Family(
    name: "gpt_oss", title: "GPT-OSS", tier: .inspectable, activation: .clampedSwiGLU,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["gpt_oss"], architectures: ["GptOssForCausalLM"],
      experts: .experts(default: 128), topK: .topK(default: 4),
      expertWidth: .denseWidth(default: 2880), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["mlp.router.weight"], gateBias: ["mlp.router.bias"], containers: ["mlp.experts"],
        published: .fused),
      routing: RoutingTraits(scoring: .fixed(.softmaxOfSelected), normalise: .fixed(false))),
    gguf: GGUFTraits(
      architecture: "gpt-oss", gateBias: true,
      routing: .llamaCpp(.fixed(.softmaxOfSelected), normalise: .fixed(false))))

  static let phi = Family(
    name: "phimoe", title: "Phi-3.5-MoE", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["phimoe"], architectures: ["PhiMoEForCausalLM", "PhimoeForCausalLM"],
      experts: .experts(default: 16), topK: .topK(default: 2),
      expertWidth: .denseWidth(default: 6400), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.router.weight"],
        containers: ["block_sparse_moe.experts", "mlp.experts"], published: .numbered),
      routing: RoutingTraits(
        scoring: .fixed(.sparseMixer), normalise: .fixed(false),
        jitter: Key("router_jitter_noise", default: 0.01))),
    gguf: GGUFTraits(
      architecture: "phimoe", expertWidthFallback: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))))

  static let granite = Family(
    name: "granitemoe", title: "Granite-MoE", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["granitemoe", "granitemoeshared"],
      architectures: ["GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"],
      experts: .experts(default: 8), topK: .topK(default: 2),
      expertWidth: .denseWidth(default: 11008), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.router.layer.weight", "block_sparse_moe.router.weight"],
        containers: ["block_sparse_moe.experts"],
        fused: [
          "block_sparse_moe.input_linear": .gateUp, "block_sparse_moe.output_linear": .down,
        ],
        shared: ["shared_mlp"], published: .fused),
      routing: RoutingTraits(scoring: .fixed(.softmaxOfSelected), normalise: .fixed(false))),
    gguf: GGUFTraits(
      architecture: "granitemoe", expertWidthFallback: .feedForward,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))))

  static let miniMaxM2 = Family(
    name: "minimax_m2", title: "MiniMax-M2", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["minimax_m2"], architectures: ["MiniMaxM2ForCausalLM"],
      experts: .experts(default: 256), topK: .topK(default: 8),
      expertWidth: .denseWidth(default: 1536), sharedExperts: nil, sparsity: .all,
      names: TensorNames(
        gate: ["block_sparse_moe.gate.weight", "mlp.gate.weight"],
        selectionBias: [
          "block_sparse_moe.e_score_correction_bias", "mlp.e_score_correction_bias",
        ],
        containers: ["block_sparse_moe.experts", "mlp.experts"], published: .numbered),
      selectionBias: .expected,
      routing: RoutingTraits(scoring: .fixed(.sigmoid), normalise: .fixed(true))),
    gguf: GGUFTraits(
      architecture: "minimax-m2", selectionBias: .expected,
      routing: .llamaCpp(.gatingFunction(default: nil), normalise: .fixed(true))))

  static let ernie = Family(
    name: "ernie4_5_moe", title: "ERNIE-4.5", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["ernie4_5_moe"],
      architectures: ["Ernie4_5_MoeForCausalLM", "Ernie4_5MoeForCausalLM"],
      experts: .experts(default: 64), topK: .topK(default: 6),
      expertWidth: .expertWidth(default: 1536),
      sharedExperts: Key("moe_num_shared_experts", default: 2),
      sparsity: .interval(
        Key("moe_layer_interval", default: 1), start: Key("moe_layer_start_index", default: 1),
        end: Key("moe_layer_end_index", default: -1)),
      names: TensorNames(
        gate: ["mlp.gate.weight"],
        selectionBias: [
          "mlp.moe_statics.e_score_correction_bias",
          "mlp.gate.moe_statics.e_score_correction_bias",
        ],
        containers: ["mlp.experts"], shared: ["mlp.shared_experts"]),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .fixed(.softmax), normalise: .fixed(true),
        guarding: .clampKey(Key("moe_norm_min", default: 1e-12)), logits: .float32)),
    gguf: GGUFTraits(
      architecture: "ernie4_5-moe",
      sparsity: .interval(
        Key("interleave_moe_layer_step", default: nil),
        start: Key("leading_dense_block_count", default: 0), end: nil),
      selectionBias: .optional,
      routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(true))))

  static let dots1 = Family(
    name: "dots1", title: "dots.llm1", tier: .inspectable, activation: .silu,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["dots1"], architectures: ["Dots1ForCausalLM"],
      experts: .experts(default: nil), topK: .topK(default: nil),
      expertWidth: .expertWidth(default: 1408),
      sharedExperts: Key("n_shared_experts", default: nil), sparsity: .firstDense(default: 0),
      names: .deepseek, selectionBias: .expected,
      routing: .sigmoidNodes(count: 1, kept: 1, normalise: false, scale: 1)),
    gguf: GGUFTraits(
      architecture: "dots1", sparsity: .ggufLeadingDense, selectionBias: .optional,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}
