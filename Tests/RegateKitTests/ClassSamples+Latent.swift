// SPDX-License-Identifier: Apache-2.0
//
// Classes of multi-head latent attention, as `ClassSamples.swift` has them.

import TestSupport

extension ClassSample {
  static let latent: [ClassSample] = [
    ClassSample(
      "glm4_moe_lite",
      [
        "kv_lora_rank": 12, "mlp_layer_types": ["sparse", "dense"], "n_group": 1,
        "n_routed_experts": 8, "n_shared_experts": 2, "num_key_value_heads": 4, "q_lora_rank": 16,
        "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "topk_group": 1, "v_head_dim": 6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=8
      mlp.gate.weight=8x32 mlp.shared_experts.down_proj.weight=32x16
      mlp.shared_experts.gate_proj.weight=16x32 mlp.shared_experts.up_proj.weight=16x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.kv_a_layernorm.weight=12 self_attn.kv_a_proj_with_mqa.weight=16x32
      self_attn.kv_b_proj.weight=56x12 self_attn.o_proj.weight=32x24
      self_attn.q_a_layernorm.weight=16 self_attn.q_a_proj.weight=16x32
      self_attn.q_b_proj.weight=48x16 1: mlp.down_proj.weight=32x24
      mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32
      """),
    ClassSample(
      "deepseek_v2",
      [
        "first_k_dense_replace": 1, "kv_lora_rank": 12, "n_group": 1, "n_routed_experts": 8,
        "n_shared_experts": 2, "num_key_value_heads": 4, "q_lora_rank": 16,
        "qk_nope_head_dim":
          8, "qk_rope_head_dim": 4, "topk_group": 1, "topk_method": "greedy", "v_head_dim": 6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.kv_a_layernorm.weight=12 self_attn.kv_a_proj_with_mqa.weight=16x32
      self_attn.kv_b_proj.weight=56x12 self_attn.o_proj.weight=32x24
      self_attn.q_a_layernorm.weight=16 self_attn.q_a_proj.weight=16x32
      self_attn.q_b_proj.weight=48x16 1: mlp.experts.@.down_proj.weight=32x8
      mlp.experts.@.gate_proj.weight=8x32 mlp.experts.@.up_proj.weight=8x32
      mlp.gate.weight=8x32 mlp.shared_experts.down_proj.weight=32x16
      mlp.shared_experts.gate_proj.weight=16x32 mlp.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "deepseek_v2",
      [
        "first_k_dense_replace": 1, "kv_lora_rank": 12, "mlp_bias": true, "n_group": 1,
        "n_routed_experts": 8, "n_shared_experts": 2, "num_key_value_heads": 4,
        "q_lora_rank":
          ClassSample.null, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "topk_group": 1,
        "topk_method":
          "greedy", "v_head_dim": 6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.bias=32 mlp.down_proj.weight=32x24 mlp.gate_proj.bias=24
      mlp.gate_proj.weight=24x32 mlp.up_proj.bias=24 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.kv_a_layernorm.weight=12 self_attn.kv_a_proj_with_mqa.weight=16x32
      self_attn.kv_b_proj.weight=56x12 self_attn.o_proj.weight=32x24
      self_attn.q_proj.weight=48x32 1: mlp.experts.@.down_proj.weight=32x8
      mlp.experts.@.gate_proj.weight=8x32 mlp.experts.@.up_proj.weight=8x32
      mlp.gate.weight=8x32 mlp.shared_experts.down_proj.bias=32
      mlp.shared_experts.down_proj.weight=32x16 mlp.shared_experts.gate_proj.bias=16
      mlp.shared_experts.gate_proj.weight=16x32 mlp.shared_experts.up_proj.bias=16
      mlp.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "deepseek_v3",
      [
        "first_k_dense_replace": 1, "kv_lora_rank": 12, "n_group": 4, "n_routed_experts": 8,
        "n_shared_experts": 2, "num_key_value_heads": 4, "q_lora_rank": 16,
        "qk_nope_head_dim":
          8, "qk_rope_head_dim": 4, "topk_group": 2, "v_head_dim": 6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.kv_a_layernorm.weight=12 self_attn.kv_a_proj_with_mqa.weight=16x32
      self_attn.kv_b_proj.weight=56x12 self_attn.o_proj.weight=32x24
      self_attn.q_a_layernorm.weight=16 self_attn.q_a_proj.weight=16x32
      self_attn.q_b_proj.weight=48x16 1: mlp.experts.@.down_proj.weight=32x8
      mlp.experts.@.gate_proj.weight=8x32 mlp.experts.@.up_proj.weight=8x32
      mlp.gate.e_score_correction_bias=8 mlp.gate.weight=8x32
      mlp.shared_experts.down_proj.weight=32x16 mlp.shared_experts.gate_proj.weight=16x32
      mlp.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "deepseek_v3",
      [
        "attention_bias": true, "first_k_dense_replace": 1, "kv_lora_rank": 12, "n_group": 4,
        "n_routed_experts": 8, "n_shared_experts": 2, "num_key_value_heads": 4,
        "q_lora_rank":
          ClassSample.null, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "topk_group": 2,
        "v_head_dim":
          6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.kv_a_layernorm.weight=12 self_attn.kv_a_proj_with_mqa.bias=16
      self_attn.kv_a_proj_with_mqa.weight=16x32 self_attn.kv_b_proj.weight=56x12
      self_attn.o_proj.bias=32 self_attn.o_proj.weight=32x24 self_attn.q_proj.weight=48x32
      1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=8
      mlp.gate.weight=8x32 mlp.shared_experts.down_proj.weight=32x16
      mlp.shared_experts.gate_proj.weight=16x32 mlp.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "deepseek_v32",
      [
        "first_k_dense_replace": 1, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 16,
        "kv_lora_rank": 12, "n_group": 4, "n_routed_experts": 8, "n_shared_experts": 2,
        "num_key_value_heads": 4, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
        "topk_group": 2, "v_head_dim": 6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.indexer.k_norm.bias=8 self_attn.indexer.k_norm.weight=8
      self_attn.indexer.weights_proj.weight=2x32 self_attn.indexer.wk.weight=8x32
      self_attn.indexer.wq_b.weight=16x16 self_attn.kv_a_layernorm.weight=12
      self_attn.kv_a_proj_with_mqa.weight=16x32 self_attn.kv_b_proj.weight=56x12
      self_attn.o_proj.weight=32x24 self_attn.q_a_layernorm.weight=16
      self_attn.q_a_proj.weight=16x32 self_attn.q_b_proj.weight=48x16 1:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=8
      mlp.gate.weight=8x32 mlp.shared_experts.down_proj.weight=32x16
      mlp.shared_experts.gate_proj.weight=16x32 mlp.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "glm_moe_dsa",
      [
        "first_k_dense_replace": 1, "index_head_dim": 8, "index_n_heads": 2, "index_topk": 16,
        "indexer_types": ["full", "shared"], "kv_lora_rank": 12, "n_group": 1,
        "n_routed_experts": 8, "n_shared_experts": 2, "num_key_value_heads": 4, "q_lora_rank": 16,
        "qk_nope_head_dim": 8, "qk_rope_head_dim": 4, "topk_group": 1, "v_head_dim": 6,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32
      self_attn.indexer.k_norm.bias=8 self_attn.indexer.k_norm.weight=8
      self_attn.indexer.weights_proj.weight=2x32 self_attn.indexer.wk.weight=8x32
      self_attn.indexer.wq_b.weight=16x16 01: input_layernorm.weight=32
      post_attention_layernorm.weight=32 self_attn.kv_a_layernorm.weight=12
      self_attn.kv_a_proj_with_mqa.weight=16x32 self_attn.kv_b_proj.weight=56x12
      self_attn.o_proj.weight=32x24 self_attn.q_a_layernorm.weight=16
      self_attn.q_a_proj.weight=16x32 self_attn.q_b_proj.weight=48x16 1:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=8
      mlp.gate.weight=8x32 mlp.shared_experts.down_proj.weight=32x16
      mlp.shared_experts.gate_proj.weight=16x32 mlp.shared_experts.up_proj.weight=16x32
      """),
  ]
}
