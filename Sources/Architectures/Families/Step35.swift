// SPDX-License-Identifier: Apache-2.0
//
// Step-3.5 and the language model of Step-3.7 (StepFun). Not run: gated attention of several kinds.

import Routing

extension Family {
  static let step35 = Family(
    name: "step3p5", title: "Step-3.5", activation: .siluWithLimits,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["step3p5"],
      architectures: ["Step3p5ForCausalLM", "Step3p7ForConditionalGeneration"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 45, heads: 64, vocabulary: 128_815, context: 128_000,
        epsilon: 1e-5),
      experts: Key("moe_num_experts", "n_routed_experts", default: 288),
      topK: Key("moe_top_k", "num_experts_per_tok", default: 8),
      expertWidth: .expertWidth(default: 1280), sharedExperts: nil,
      sparsity: .named(
        "mlp_layer_types", otherwise: .listed("moe_layers_enum", otherwise: .after(3))),
      names: TensorNames(
        gate: ["moe.gate.weight", "mlp.gate.weight"],
        selectionBias: ["moe.router_bias", "mlp.gate.e_score_correction_bias"],
        containers: ["mlp.experts"],
        fused: ["moe.gate_proj": .gate, "moe.up_proj": .up, "moe.down_proj": .down],
        shared: ["share_expert", "mlp.shared_experts"], published: .fused),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .fixed(.sigmoid), normalise: .fixed(true),
        scale: .key(Key("moe_router_scaling_factor", default: 1), zeroIsOne: false)),
      mtpLayers: Key("num_nextn_predict_layers", default: 0)),
    gguf: GGUFTraits(
      architecture: "step35", sparsity: .stored, selectionBias: .optional, convertsFused: true,
      routing: .llamaCppFromKeys(.gatingFunction(default: .sigmoid))))
}
