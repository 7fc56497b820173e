// SPDX-License-Identifier: Apache-2.0
//
// Classes with layers of two kinds, as `ClassSamples.swift` has them.

import TestSupport

extension ClassSample {
  private static func gemma4(_ own: [String: Any]) -> [String: Any] {
    let values: [String: Any] = [
      "enable_moe_block": true, "num_experts": 4, "top_k_experts": 2, "head_dim": 8,
      "global_head_dim": 12, "attention_k_eq_v": true, "sliding_window": 16,
      "hidden_size_per_layer_input": 0, "layer_types": ["sliding_attention", "full_attention"],
      "final_logit_softcapping": 8.5,
      "rope_parameters": [
        "sliding_attention": ["rope_type": "default", "rope_theta": 10000.5],
        "full_attention": [
          "rope_type": "proportional", "rope_theta": 1000.5, "partial_rotary_factor": 0.25,
        ],
      ],
    ]
    return values.merging(own) { $1 }
  }

  static let mixed: [ClassSample] = [
    ClassSample(
      "qwen3_next",
      [
        "num_experts": 4, "head_dim": 8, "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 6, "layer_types": ["linear_attention", "full_attention"],
        "norm_topk_prob": true, "mlp_only_layers": [0],
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      linear_attn.A_log=4 linear_attn.conv1d.weight=56x1x4 linear_attn.dt_bias=4
      linear_attn.in_proj_ba.weight=8x32 linear_attn.in_proj_qkvz.weight=80x32
      linear_attn.norm.weight=6 linear_attn.out_proj.weight=32x24 mlp.down_proj.weight=32x24
      mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01: input_layernorm.weight=32
      post_attention_layernorm.weight=32 1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      mlp.shared_expert.down_proj.weight=32x16 mlp.shared_expert.gate_proj.weight=16x32
      mlp.shared_expert.up_proj.weight=16x32 mlp.shared_expert_gate.weight=1x32
      self_attn.k_norm.weight=8 self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32
      self_attn.q_norm.weight=8 self_attn.q_proj.weight=64x32 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "qwen3_5_moe_text",
      [
        "num_experts": 4, "head_dim": 8, "shared_expert_intermediate_size": 16,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8,
        "linear_value_head_dim": 6, "layer_types": ["linear_attention", "full_attention"],
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      linear_attn.A_log=4 linear_attn.conv1d.weight=56x1x4 linear_attn.dt_bias=4
      linear_attn.in_proj_a.weight=4x32 linear_attn.in_proj_b.weight=4x32
      linear_attn.in_proj_qkv.weight=56x32 linear_attn.in_proj_z.weight=24x32
      linear_attn.norm.weight=6 linear_attn.out_proj.weight=32x24 01: input_layernorm.weight=32
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      mlp.shared_expert.down_proj.weight=32x16 mlp.shared_expert.gate_proj.weight=16x32
      mlp.shared_expert.up_proj.weight=16x32 mlp.shared_expert_gate.weight=1x32
      post_attention_layernorm.weight=32 1: self_attn.k_norm.weight=8 self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32
      self_attn.q_norm.weight=8 self_attn.q_proj.weight=64x32 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "gemma4_text", gemma4(["num_global_key_value_heads": 1, "tie_word_embeddings": true]),
      """
      -: model.embed_tokens.weight=40x32 model.norm.weight=32 0: self_attn.k_norm.weight=8
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=8
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32 01: experts.down_proj=4x32x8
      experts.gate_up_proj=4x16x32 input_layernorm.weight=32 layer_scalar=1
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32
      post_attention_layernorm.weight=32 post_feedforward_layernorm.weight=32
      post_feedforward_layernorm_1.weight=32 post_feedforward_layernorm_2.weight=32
      pre_feedforward_layernorm.weight=32 pre_feedforward_layernorm_2.weight=32
      router.per_expert_scale=4 router.proj.weight=4x32 router.scale=32 1:
      self_attn.k_norm.weight=12 self_attn.k_proj.weight=12x32 self_attn.o_proj.weight=32x48
      self_attn.q_norm.weight=12 self_attn.q_proj.weight=48x32
      """),
    ClassSample(
      "gemma4_text", gemma4(["attention_bias": true, "attention_k_eq_v": false]),
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      self_attn.k_norm.weight=8 self_attn.k_proj.bias=16 self_attn.k_proj.weight=16x32
      self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=8 self_attn.q_proj.bias=32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.bias=16 self_attn.v_proj.weight=16x32 01:
      experts.down_proj=4x32x8 experts.gate_up_proj=4x16x32 input_layernorm.weight=32
      layer_scalar=1 mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32
      mlp.up_proj.weight=24x32 post_attention_layernorm.weight=32
      post_feedforward_layernorm.weight=32 post_feedforward_layernorm_1.weight=32
      post_feedforward_layernorm_2.weight=32 pre_feedforward_layernorm.weight=32
      pre_feedforward_layernorm_2.weight=32 router.per_expert_scale=4 router.proj.weight=4x32
      router.scale=32 self_attn.o_proj.bias=32 1: self_attn.k_norm.weight=12
      self_attn.k_proj.bias=24 self_attn.k_proj.weight=24x32 self_attn.o_proj.weight=32x48
      self_attn.q_norm.weight=12 self_attn.q_proj.bias=48 self_attn.q_proj.weight=48x32
      self_attn.v_proj.bias=24 self_attn.v_proj.weight=24x32
      """),
  ]
}
