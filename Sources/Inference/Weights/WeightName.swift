// SPDX-License-Identifier: Apache-2.0
//
// Names of the weights outside routers and experts: safetensors relative to
// `{prefix}layers.{n}.`, GGUF relative to `blk.{n}.`; without `.weight` or `.bias`.

import Architectures

/// A weight of one layer.
enum WeightName: CaseIterable {
  case mixerNorm, feedForwardNorm
  /// Of branched layers: what norms the mixer's output, what the dense network reads and gives,
  /// what the experts give, and both together; and what multiplies the layer's output.
  case mixerOutputNorm, denseNorm, denseOutputNorm, expertOutputNorm, outputNorm
  case layerScale
  case query, key, value, output
  /// Query, key and value rows in one matrix (GGUF).
  case queryKeyValue
  case queryNorm, keyNorm
  /// One for each query head; without a suffix in safetensors files.
  case sinks
  /// Latent attention: the bottlenecks, and what expands them.
  case queryDown, queryDownNorm, queryUp, keyValueDown, keyValueDownNorm, keyValueUp
  /// The two halves of `keyValueUp` (GGUF); keys transposed per head.
  case keyUp, valueUp
  /// Gated delta nets: queries, keys, values and gates in one matrix, or the first three apart from
  /// the gates; strengths and decays in one, or apart; what decays are made with.
  case deltaJoined, deltaInputs, deltaGate
  case deltaRates, deltaStrength, deltaDecay
  case convolution, decayScale, decayBias, deltaNorm, deltaOutput
  case gate, up, down
  case sharedGate, sharedUp, sharedDown
  /// Rows of gate, then of up, in one matrix, and what goes with it (Granite).
  case sharedGateUp, sharedOutput
  /// Weighs the shared expert (Qwen2-MoE).
  case sharedScale

  /// Every spelling in safetensors files.
  var huggingFace: [String] {
    switch self {
    case .mixerNorm: ["input_layernorm"]
    case .feedForwardNorm: ["post_attention_layernorm"]
    case .mixerOutputNorm: ["post_attention_layernorm"]
    case .denseNorm: ["pre_feedforward_layernorm"]
    case .denseOutputNorm: ["post_feedforward_layernorm_1"]
    case .expertOutputNorm: ["post_feedforward_layernorm_2"]
    case .outputNorm: ["post_feedforward_layernorm"]
    case .layerScale: ["layer_scalar"]
    case .query: ["self_attn.q_proj"]
    case .key: ["self_attn.k_proj"]
    case .value: ["self_attn.v_proj"]
    case .output: ["self_attn.o_proj"]
    case .queryKeyValue, .keyUp, .valueUp: []
    case .queryNorm: ["self_attn.q_norm"]
    case .keyNorm: ["self_attn.k_norm"]
    case .sinks: ["self_attn.sinks"]
    case .queryDown: ["self_attn.q_a_proj"]
    case .queryDownNorm: ["self_attn.q_a_layernorm"]
    case .queryUp: ["self_attn.q_b_proj"]
    case .keyValueDown: ["self_attn.kv_a_proj_with_mqa"]
    case .keyValueDownNorm: ["self_attn.kv_a_layernorm"]
    case .keyValueUp: ["self_attn.kv_b_proj"]
    case .deltaJoined: ["linear_attn.in_proj_qkvz"]
    case .deltaInputs: ["linear_attn.in_proj_qkv"]
    case .deltaGate: ["linear_attn.in_proj_z"]
    case .deltaRates: ["linear_attn.in_proj_ba"]
    case .deltaStrength: ["linear_attn.in_proj_b"]
    case .deltaDecay: ["linear_attn.in_proj_a"]
    case .convolution: ["linear_attn.conv1d"]
    case .decayScale: ["linear_attn.A_log"]
    case .decayBias: ["linear_attn.dt_bias"]
    case .deltaNorm: ["linear_attn.norm"]
    case .deltaOutput: ["linear_attn.out_proj"]
    case .gate: ["mlp.gate_proj"]
    case .up: ["mlp.up_proj"]
    case .down: ["mlp.down_proj"]
    case .sharedGate: ["mlp.shared_experts.gate_proj", "mlp.shared_expert.gate_proj"]
    case .sharedUp: ["mlp.shared_experts.up_proj", "mlp.shared_expert.up_proj"]
    case .sharedDown:
      ["mlp.shared_experts.down_proj", "mlp.shared_expert.down_proj"]
    case .sharedGateUp: ["shared_mlp.input_linear"]
    case .sharedOutput: ["shared_mlp.output_linear"]
    case .sharedScale: ["mlp.shared_expert_gate"]
    }
  }

  /// The name in GGUF files, where there is one.
  func gguf(_ traits: GGUFTraits) -> String? {
    switch self {
    case .mixerNorm: "attn_norm"
    case .feedForwardNorm: traits.feedForwardNorm
    case .mixerOutputNorm: "post_attention_norm"
    case .denseNorm: "ffn_norm"
    case .denseOutputNorm: "post_ffw_norm_1"
    case .expertOutputNorm: "post_ffw_norm_2"
    case .outputNorm: "post_ffw_norm"
    case .layerScale: "layer_output_scale"
    case .query: "attn_q"
    case .key: "attn_k"
    case .value: "attn_v"
    case .output: "attn_output"
    case .queryKeyValue: "attn_qkv"
    case .queryNorm: "attn_q_norm"
    case .keyNorm: "attn_k_norm"
    case .sinks: "attn_sinks"
    case .queryDown: "attn_q_a"
    case .queryDownNorm: "attn_q_a_norm"
    case .queryUp: "attn_q_b"
    case .keyValueDown: "attn_kv_a_mqa"
    case .keyValueDownNorm: "attn_kv_a_norm"
    case .keyValueUp: "attn_kv_b"
    case .keyUp: "attn_k_b"
    case .valueUp: "attn_v_b"
    // Of files from before the converter took it apart.
    case .deltaJoined: "ssm_in"
    case .deltaInputs: "attn_qkv"
    case .deltaGate: "attn_gate"
    case .deltaRates: "ssm_ba"
    case .deltaStrength: "ssm_beta"
    case .deltaDecay: "ssm_alpha"
    case .convolution: "ssm_conv1d"
    case .decayScale: "ssm_a"
    case .decayBias: "ssm_dt"
    case .deltaNorm: "ssm_norm"
    case .deltaOutput: "ssm_out"
    case .gate: "ffn_gate"
    case .up: "ffn_up"
    case .down: "ffn_down"
    case .sharedGate: "ffn_gate_shexp"
    case .sharedUp: "ffn_up_shexp"
    case .sharedDown: "ffn_down_shexp"
    case .sharedGateUp, .sharedOutput: nil
    case .sharedScale: "ffn_gate_inp_shexp"
    }
  }
}
