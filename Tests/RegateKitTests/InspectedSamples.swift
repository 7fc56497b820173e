// SPDX-License-Identifier: Apache-2.0
//
// The MoE layers that transformers 5.23.0 writes with save_pretrained for small models of families
// that Regate does not run; in the notation of `ClassSample.all`. Language models that are only
// published inside another model are without its prefix.

import TestSupport

extension ClassSample {
  static let inspected: [ClassSample] = [
    ClassSample(
      "deepseek_v4",
      [
        "intermediate_size": 8, "mlp_layer_types": ["hash_moe", "moe"], "n_routed_experts": 4,
        "swiglu_limit": 1.0,
      ],
      """
      0: ffn.gate.tid2eid=40x2 01: ffn.experts.@.w1.weight=8x32 ffn.experts.@.w2.weight=32x8
      ffn.experts.@.w3.weight=8x32 ffn.gate.weight=4x32 ffn.shared_experts.w1.weight=8x32
      ffn.shared_experts.w2.weight=32x8 ffn.shared_experts.w3.weight=8x32 1: ffn.gate.bias=4
      """),
    ClassSample(
      "minimax_m3_vl_text", ["mlp_layer_types": ["dense", "sparse"], "num_local_experts": 4],
      """
      1: block_sparse_moe.e_score_correction_bias=4 block_sparse_moe.experts.@.w1.weight=24x32
      block_sparse_moe.experts.@.w2.weight=32x24 block_sparse_moe.experts.@.w3.weight=24x32
      block_sparse_moe.gate.weight=4x32 block_sparse_moe.shared_experts.down_proj.weight=32x16
      block_sparse_moe.shared_experts.gate_proj.weight=16x32
      block_sparse_moe.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "hy_v3", ["num_experts": 4],
      """
      1: mlp.expert_bias=4 mlp.experts.@.down_proj.weight=32x8
      mlp.experts.@.gate_proj.weight=8x32 mlp.experts.@.up_proj.weight=8x32
      mlp.router.gate.weight=4x32 mlp.shared_mlp.down_proj.weight=32x8
      mlp.shared_mlp.gate_proj.weight=8x32 mlp.shared_mlp.up_proj.weight=8x32
      """),
    ClassSample(
      "nemotron_h",
      [
        "layers_block_type": ["linear_attention", "moe"], "moe_latent_size": 12,
        "n_routed_experts": 4,
      ],
      """
      -: backbone.layers.1.mixer.experts.@.down_proj.weight=12x8
      backbone.layers.1.mixer.experts.@.up_proj.weight=8x12
      backbone.layers.1.mixer.fc1_latent_proj.weight=12x32
      backbone.layers.1.mixer.fc2_latent_proj.weight=32x12
      backbone.layers.1.mixer.gate.e_score_correction_bias=4
      backbone.layers.1.mixer.gate.weight=4x32
      backbone.layers.1.mixer.shared_experts.down_proj.weight=32x16
      backbone.layers.1.mixer.shared_experts.up_proj.weight=16x32
      """),
    ClassSample(
      "lfm2_moe", ["num_dense_layers": 1, "num_experts": 4],
      """
      1: feed_forward.expert_bias=4 feed_forward.experts.@.w1.weight=8x32
      feed_forward.experts.@.w2.weight=32x8 feed_forward.experts.@.w3.weight=8x32
      feed_forward.gate.weight=4x32
      """),
    ClassSample(
      "llama4_text", ["moe_layers": [1], "num_experts_per_tok": 1, "num_local_experts": 4],
      """
      1: feed_forward.experts.down_proj=4x24x32 feed_forward.experts.gate_up_proj=4x32x48
      feed_forward.router.weight=4x32 feed_forward.shared_expert.down_proj.weight=32x24
      feed_forward.shared_expert.gate_proj.weight=24x32
      feed_forward.shared_expert.up_proj.weight=24x32
      """),
    ClassSample(
      "afmoe", ["num_experts": 4, "num_shared_experts": 1],
      """
      1: mlp.expert_bias=4 mlp.experts.@.down_proj.weight=32x8
      mlp.experts.@.gate_proj.weight=8x32 mlp.experts.@.up_proj.weight=8x32
      mlp.router.gate.weight=4x32 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.weight=8x32 mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "bailing_hybrid",
      [
        "first_k_dense_replace": 1, "num_expert_group": 4, "num_experts": 8,
        "num_shared_experts": 1, "topk_group": 2,
      ],
      """
      1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.expert_bias=8 mlp.gate.weight=8x32
      mlp.shared_experts.down_proj.weight=32x8 mlp.shared_experts.gate_proj.weight=8x32
      mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "hunyuan_v1_moe", ["intermediate_size": 8, "moe_topk": [2, 2], "num_experts": 4],
      """
      01: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.wg.weight=4x32
      mlp.shared_mlp.down_proj.weight=32x8 mlp.shared_mlp.gate_proj.weight=8x32
      mlp.shared_mlp.up_proj.weight=8x32
      """),
    ClassSample(
      "kimi_linear", ["num_experts": 4],
      """
      1: block_sparse_moe.experts.@.w1.weight=8x32
      block_sparse_moe.experts.@.w2.weight=32x8 block_sparse_moe.experts.@.w3.weight=8x32
      block_sparse_moe.gate.e_score_correction_bias=4 block_sparse_moe.gate.weight=4x32
      block_sparse_moe.shared_experts.down_proj.weight=32x8
      block_sparse_moe.shared_experts.gate_proj.weight=8x32
      block_sparse_moe.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "solar_open", ["n_routed_experts": 4],
      """
      01: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.e_score_correction_bias=4
      mlp.gate.weight=4x32 mlp.shared_experts.down_proj.weight=32x8
      mlp.shared_experts.gate_proj.weight=8x32 mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "exaone_moe", ["num_experts": 4, "num_shared_experts": 1],
      """
      1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.e_score_correction_bias=4 mlp.gate.weight=4x32
      mlp.shared_experts.down_proj.weight=32x8 mlp.shared_experts.gate_proj.weight=8x32
      mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "bailing_moe",
      ["moe_intermediate_size": 8, "num_experts": 4, "num_shared_experts": 1],
      """
      01: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.weight=4x32
      mlp.shared_experts.down_proj.weight=32x8 mlp.shared_experts.gate_proj.weight=8x32
      mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "bailing_moe_v2",
      [
        "first_k_dense_replace": 1, "moe_intermediate_size": 8, "n_group": 4, "num_experts": 8,
        "num_shared_experts": 1, "topk_group": 2,
      ],
      """
      1: mlp.experts.@.down_proj.weight=32x8 mlp.experts.@.gate_proj.weight=8x32
      mlp.experts.@.up_proj.weight=8x32 mlp.gate.expert_bias=8 mlp.gate.weight=8x32
      mlp.shared_experts.down_proj.weight=32x8 mlp.shared_experts.gate_proj.weight=8x32
      mlp.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "kimi_k3",
      [
        "moe_intermediate_size": 8, "num_experts": 4, "routed_expert_hidden_size": 12,
        "num_experts_per_token": 2,
      ],
      """
      1: block_sparse_moe.experts.@.w1.weight=8x12
      block_sparse_moe.experts.@.w2.weight=12x8 block_sparse_moe.experts.@.w3.weight=8x12
      block_sparse_moe.gate.e_score_correction_bias=4 block_sparse_moe.gate.weight=4x32
      block_sparse_moe.routed_expert_down_proj.weight=12x32
      block_sparse_moe.routed_expert_up_proj.weight=32x12
      block_sparse_moe.shared_experts.down_proj.weight=32x8
      block_sparse_moe.shared_experts.gate_proj.weight=8x32
      block_sparse_moe.shared_experts.up_proj.weight=8x32
      """),
    ClassSample(
      "mistral_large4_text",
      ["n_routed_experts": 4],
      """
      1: experts.@.w1.weight=8x32 experts.@.w2.weight=32x8 experts.@.w3.weight=8x32
      gate.weight=4x32 shared_experts.w1.weight=8x32 shared_experts.w2.weight=32x8
      shared_experts.w3.weight=8x32
      """),
    ClassSample(
      "step3p5", ["mlp_layer_types": ["dense", "sparse"], "n_routed_experts": 4],
      """
      1: moe.down_proj.weight=4x32x8 moe.gate.weight=4x32 moe.gate_proj.weight=4x8x32
      moe.router_bias=4 moe.up_proj.weight=4x8x32 share_expert.down_proj.weight=32x16
      share_expert.gate_proj.weight=16x32 share_expert.up_proj.weight=16x32
      """),
  ]
}
