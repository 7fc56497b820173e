// SPDX-License-Identifier: Apache-2.0
//
// What transformers 5.23.0 writes with save_pretrained for small models of every class: names and
// shapes, of `tools/interop/check_mutations.py --parameters`. Before a colon stand the layers;
// "@" is each of four or eight experts.

import TestSupport

extension ClassSample {
  static let all = groupedQuery + latent + mixed

  /// Of attention whose query heads share heads of keys and values.
  private static let groupedQuery: [ClassSample] = [
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
