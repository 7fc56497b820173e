// SPDX-License-Identifier: Apache-2.0
//
// What transformers 5.23.0 writes with save_pretrained for small models of every class: names and
// shapes, of `tools/interop/check_mutations.py --parameters`. Before a colon stand the layers;
// "@" is each of four or eight experts.

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

  static let all: [ClassSample] = [
    ClassSample(
      "mixtral", ["head_dim": 8, "num_local_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      block_sparse_moe.experts.@.w1.weight=24x32 block_sparse_moe.experts.@.w2.weight=32x24
      block_sparse_moe.experts.@.w3.weight=24x32 block_sparse_moe.gate.weight=4x32
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "qwen3_moe", ["head_dim": 8, "mlp_only_layers": [0], "num_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32 self_attn.k_norm.weight=8
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=8
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32 1:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      """),
    ClassSample(
      "qwen3_moe",
      ["attention_bias": true, "head_dim": 12, "num_experts": 4, "tie_word_embeddings": true],
      """
      -: model.embed_tokens.weight=40x32 model.norm.weight=32 01: input_layernorm.weight=32
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      post_attention_layernorm.weight=32 self_attn.k_norm.weight=12 self_attn.k_proj.bias=24
      self_attn.k_proj.weight=24x32 self_attn.o_proj.bias=32 self_attn.o_proj.weight=32x48
      self_attn.q_norm.weight=12 self_attn.q_proj.bias=48 self_attn.q_proj.weight=48x32
      self_attn.v_proj.bias=24 self_attn.v_proj.weight=24x32
      """),
    ClassSample(
      "qwen2_moe",
      ["mlp_only_layers": [0], "num_experts": 4, "shared_expert_intermediate_size": 16],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32 self_attn.k_proj.bias=16
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_proj.bias=32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.bias=16 self_attn.v_proj.weight=16x32
      1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      mlp.shared_expert.down_proj.weight=32x16 mlp.shared_expert.gate_proj.weight=16x32
      mlp.shared_expert.up_proj.weight=16x32 mlp.shared_expert_gate.weight=1x32
      """),
    ClassSample(
      "olmoe", ["num_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      input_layernorm.weight=32 mlp.experts.@.down_proj.weight=32x24
      mlp.experts.@.gate_proj.weight=24x32 mlp.experts.@.up_proj.weight=24x32
      mlp.gate.weight=4x32 post_attention_layernorm.weight=32 self_attn.k_norm.weight=16
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "olmoe", ["attention_bias": true, "num_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      input_layernorm.weight=32 mlp.experts.@.down_proj.weight=32x24
      mlp.experts.@.gate_proj.weight=24x32 mlp.experts.@.up_proj.weight=24x32
      mlp.gate.weight=4x32 post_attention_layernorm.weight=32 self_attn.k_norm.weight=16
      self_attn.k_proj.bias=16 self_attn.k_proj.weight=16x32 self_attn.o_proj.bias=32
      self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=32 self_attn.q_proj.bias=32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.bias=16 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "glm4_moe",
      [
        "first_k_dense_replace": 1, "head_dim": 8, "n_routed_experts": 4, "n_shared_experts": 1,
        "use_qk_norm": true,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32 self_attn.k_norm.weight=8
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=8
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32 1:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=4
      mlp.gate.weight=4x32 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.weight=8x32 mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "glm4_moe",
      [
        "attention_bias": true, "first_k_dense_replace": 1, "head_dim": 8, "n_routed_experts": 4,
        "n_shared_experts": 1,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32 self_attn.k_proj.bias=16
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_proj.bias=32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.bias=16 self_attn.v_proj.weight=16x32
      1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=4
      mlp.gate.weight=4x32 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.weight=8x32 mlp.shared_experts.up_proj.weight=8x32
      """),
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
    ClassSample(
      "gpt_oss", ["head_dim": 8, "num_local_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      input_layernorm.weight=32 mlp.experts.down_proj=4x24x32
      mlp.experts.down_proj_bias=4x32 mlp.experts.gate_up_proj=4x32x48
      mlp.experts.gate_up_proj_bias=4x48 mlp.router.bias=4 mlp.router.weight=4x32
      post_attention_layernorm.weight=32 self_attn.k_proj.bias=16
      self_attn.k_proj.weight=16x32 self_attn.o_proj.bias=32 self_attn.o_proj.weight=32x32
      self_attn.q_proj.bias=32 self_attn.q_proj.weight=32x32 self_attn.sinks=4
      self_attn.v_proj.bias=16 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "phimoe", ["num_local_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.bias=32
      model.norm.weight=32 01: block_sparse_moe.experts.@.w1.weight=24x32
      block_sparse_moe.experts.@.w2.weight=32x24 block_sparse_moe.experts.@.w3.weight=24x32
      block_sparse_moe.gate.weight=4x32 input_layernorm.bias=32 input_layernorm.weight=32
      post_attention_layernorm.bias=32 post_attention_layernorm.weight=32
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "phimoe", ["attention_bias": true, "lm_head_bias": true, "num_local_experts": 4],
      """
      -: lm_head.bias=40 lm_head.weight=40x32 model.embed_tokens.weight=40x32
      model.norm.bias=32 model.norm.weight=32 01: block_sparse_moe.experts.@.w1.weight=24x32
      block_sparse_moe.experts.@.w2.weight=32x24 block_sparse_moe.experts.@.w3.weight=24x32
      block_sparse_moe.gate.weight=4x32 input_layernorm.bias=32 input_layernorm.weight=32
      post_attention_layernorm.bias=32 post_attention_layernorm.weight=32
      self_attn.k_proj.bias=16 self_attn.k_proj.weight=16x32 self_attn.o_proj.bias=32
      self_attn.o_proj.weight=32x32 self_attn.q_proj.bias=32 self_attn.q_proj.weight=32x32
      self_attn.v_proj.bias=16 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "granitemoe", ["num_local_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      block_sparse_moe.input_linear.weight=4x48x32
      block_sparse_moe.output_linear.weight=4x32x24
      block_sparse_moe.router.layer.weight=4x32 input_layernorm.weight=32
      post_attention_layernorm.weight=32 self_attn.k_proj.weight=16x32
      self_attn.o_proj.weight=32x32 self_attn.q_proj.weight=32x32
      self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "granitemoeshared", ["num_local_experts": 4, "shared_intermediate_size": 16],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      block_sparse_moe.input_linear.weight=4x48x32
      block_sparse_moe.output_linear.weight=4x32x24
      block_sparse_moe.router.layer.weight=4x32 input_layernorm.weight=32
      post_attention_layernorm.weight=32 self_attn.k_proj.weight=16x32
      self_attn.o_proj.weight=32x32 self_attn.q_proj.weight=32x32
      self_attn.v_proj.weight=16x32 shared_mlp.input_linear.weight=32x32
      shared_mlp.output_linear.weight=32x16
      """),
    ClassSample(
      "minimax_m2", ["head_dim": 8, "num_local_experts": 4],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 01:
      block_sparse_moe.e_score_correction_bias=4 block_sparse_moe.experts.@.w1.weight=24x32
      block_sparse_moe.experts.@.w2.weight=32x24 block_sparse_moe.experts.@.w3.weight=24x32
      block_sparse_moe.gate.weight=4x32 input_layernorm.weight=32
      post_attention_layernorm.weight=32 self_attn.k_norm.weight=16
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32
      """),
    ClassSample(
      "ernie4_5_moe",
      ["moe_k": 2, "moe_num_experts": 4, "moe_num_shared_experts": 1, "use_bias": false],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32 1:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      mlp.moe_statics.e_score_correction_bias=1x4 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.weight=8x32 mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "ernie4_5_moe",
      ["moe_k": 2, "moe_num_experts": 4, "moe_num_shared_experts": 1, "use_bias": true],
      """
      -: lm_head.bias=40 lm_head.weight=40x32 model.embed_tokens.weight=40x32
      model.norm.weight=32 0: mlp.down_proj.bias=32 mlp.down_proj.weight=32x24
      mlp.gate_proj.bias=24 mlp.gate_proj.weight=24x32 mlp.up_proj.bias=24
      mlp.up_proj.weight=24x32 01: input_layernorm.weight=32
      post_attention_layernorm.weight=32 self_attn.k_proj.bias=16
      self_attn.k_proj.weight=16x32 self_attn.o_proj.bias=32 self_attn.o_proj.weight=32x32
      self_attn.q_proj.bias=32 self_attn.q_proj.weight=32x32 self_attn.v_proj.bias=16
      self_attn.v_proj.weight=16x32 1: mlp.experts.@.down_proj.weight=32x8
      mlp.experts.@.gate_proj.weight=8x32 mlp.experts.@.up_proj.weight=8x32
      mlp.gate.weight=4x32 mlp.moe_statics.e_score_correction_bias=1x4
      mlp.shared_experts.down_proj.bias=32 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.bias=8 mlp.shared_experts.gate_proj.weight=8x32
      mlp.shared_experts.up_proj.bias=8 mlp.shared_experts.up_proj.weight=8x32
      """),
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
    ClassSample(
      "dots1",
      [
        "first_k_dense_replace": 1, "n_group": 1, "n_routed_experts": 4, "n_shared_experts": 1,
        "topk_group": 1,
      ],
      """
      -: lm_head.weight=40x32 model.embed_tokens.weight=40x32 model.norm.weight=32 0:
      mlp.down_proj.weight=32x24 mlp.gate_proj.weight=24x32 mlp.up_proj.weight=24x32 01:
      input_layernorm.weight=32 post_attention_layernorm.weight=32 self_attn.k_norm.weight=8
      self_attn.k_proj.weight=16x32 self_attn.o_proj.weight=32x32 self_attn.q_norm.weight=8
      self_attn.q_proj.weight=32x32 self_attn.v_proj.weight=16x32 1:
      mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=4
      mlp.gate.weight=4x32 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.weight=8x32 mlp.shared_experts.up_proj.weight=8x32
      """),
  ]
}
