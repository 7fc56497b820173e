// SPDX-License-Identifier: Apache-2.0
//
// DeepSeek-V4 (DeepSeek): learned routing by the square root of softplus, after layers whose
// experts a table of token ids chooses. Not run: compressed sparse attention, hyper-connections.

import Routing

extension Family {
  static let deepseekV4 = Family(
    name: "deepseek_v4", title: "DeepSeek-V4", activation: .limitedSiLU,
    huggingFace: HuggingFaceTraits(
      modelTypes: ["deepseek_v4"], architectures: ["DeepseekV4ForCausalLM"],
      defaults: ClassDefaults(
        hiddenSize: 4096, layers: 43, heads: 64, vocabulary: 129_280, context: 1_048_576,
        epsilon: 1e-6),
      experts: Key("num_local_experts", "n_routed_experts", default: 256), topK: .topK(default: 6),
      expertWidth: Key("intermediate_size", "moe_intermediate_size", default: 2048),
      sharedExperts: Key("n_shared_experts", default: 1),
      sparsity: .named(
        "mlp_layer_types", word: "moe",
        otherwise: .afterLeadingDense(Key("num_hash_layers", default: 3))),
      names: TensorNames(
        gate: ["ffn.gate.weight", "mlp.gate.weight"],
        selectionBias: ["ffn.gate.bias", "mlp.gate.e_score_correction_bias"],
        tables: ["ffn.gate.tid2eid", "mlp.gate.tid2eid"],
        perExpert: ["ffn.gate.bias_vl", "mlp.gate.bias_vl"],
        containers: ["ffn.experts", "mlp.experts"],
        shared: ["ffn.shared_experts", "mlp.shared_experts"], published: .numbered),
      selectionBias: .expected,
      routing: RoutingTraits(
        scoring: .named(
          Key("scoring_func", default: "sqrtsoftplus"),
          ["sqrtsoftplus": .sqrtSoftplus, "sigmoid": .sigmoid]),
        normalise: .fixed(true), guarding: .fixed(.add(1e-20)),
        scale: .key(Key("routed_scaling_factor", default: 1.5), zeroIsOne: false))),
    gguf: GGUFTraits(
      architecture: "deepseek4",
      sparsity: .afterLeadingDense(Key("hash_layer_count", default: nil)),
      selectionBias: .expected,
      routing: .llamaCppFromKeys(.gatingFunction(default: nil))))
}
