// SPDX-License-Identifier: Apache-2.0

/// The JSON types with which transformers' class of a family runs under a key of `config.json`; it
/// stops at others. A whole number is no `number`: its dataclasses are strict.
package struct FieldTypes: OptionSet, Sendable {
  package let rawValue: Int

  package init(rawValue: Int) { self.rawValue = rawValue }

  static let null = FieldTypes(rawValue: 1)
  static let integer = FieldTypes(rawValue: 2)
  static let number = FieldTypes(rawValue: 4)
  static let flag = FieldTypes(rawValue: 8)
  static let text = FieldTypes(rawValue: 16)
  static let integers = FieldTypes(rawValue: 32)
  static let texts = FieldTypes(rawValue: 64)
  static let object = FieldTypes(rawValue: 128)

  /// Of a key that the class does not have.
  static let any: FieldTypes = [
    .null, .integer, .number, .flag, .text, .integers, .texts, .object,
  ]
  static let optionalInteger: FieldTypes = [.null, .integer]
  static let optionalFlag: FieldTypes = [.null, .flag]
  static let anyNumber: FieldTypes = [.integer, .number]

  /// What the types are called in messages.
  private static let names: [(FieldTypes, String)] = [
    (.null, "null"), (.integer, "a whole number"), (.number, "a number with a fraction (1.0)"),
    (.flag, "true or false"), (.text, "a string"), (.integers, "a list of whole numbers"),
    (.texts, "a list of strings"), (.object, "an object"),
  ]

  var description: String {
    Self.names.filter { contains($0.0) }.map(\.1).joined(separator: " or ")
  }
}

extension [String: FieldTypes] {
  /// Keys that every family's class has, or that its base class reads.
  static let ofEveryClass: Self = [
    "vocab_size": .integer, "hidden_size": .integer, "intermediate_size": .integer,
    "num_hidden_layers": .integer, "num_attention_heads": .integer,
    "num_key_value_heads": .integer, "num_experts_per_tok": .integer, "head_dim": .integer,
    "max_position_embeddings": .integer, "initializer_range": .number, "rms_norm_eps": .number,
    "hidden_act": .text, "use_cache": .flag, "tie_word_embeddings": .flag,
    "output_router_logits": .flag, "attention_dropout": .anyNumber,
    "pad_token_id": .optionalInteger, "bos_token_id": .optionalInteger,
    "eos_token_id": [.null, .integer, .integers], "id2label": [.null, .object],
    "layer_types": [.null, .texts], "rope_parameters": [.null, .object],
    "rope_scaling": [.null, .object],
    "dtype": [.null, .text, .object], "torch_dtype": [.null, .text],
  ]

  /// Latent attention, and experts as DeepSeek has them.
  static let deepSeek: Self = [
    "attention_bias": .flag, "first_k_dense_replace": .integer, "kv_lora_rank": .integer,
    "moe_intermediate_size": .integer, "n_routed_experts": .integer, "n_shared_experts": .integer,
    "norm_topk_prob": .optionalFlag, "num_key_value_heads": .optionalInteger,
    "pretraining_tp": .optionalInteger, "q_lora_rank": .optionalInteger,
    "qk_nope_head_dim": .integer, "qk_rope_head_dim": .integer, "routed_scaling_factor": .number,
    "v_head_dim": .integer,
  ]

  /// Sparse attention by an indexer, and what its classes have otherwise than DeepSeek-V3's.
  static let indexer: Self = [
    "index_head_dim": .integer, "index_n_heads": .integer, "index_topk": .integer,
    "indexer_types": [.null, .texts], "mlp_bias": .flag, "mlp_layer_types": [.null, .texts],
    "n_group": .integer, "norm_topk_prob": .flag, "num_key_value_heads": .integer,
    "num_local_experts": .integer, "num_mtp_layers": .integer, "q_lora_rank": .integer,
    "topk_group": .integer,
  ]

  /// Qwen's experts.
  static let qwen: Self = [
    "decoder_sparse_step": .integer, "mlp_only_layers": [.null, .integers],
    "moe_intermediate_size": .integer, "norm_topk_prob": .flag, "num_experts": .integer,
    "router_aux_loss_coef": .number, "sliding_window": .optionalInteger,
    "use_sliding_window": .flag,
  ]

  /// Gated delta nets.
  static let delta: Self = [
    "attention_bias": .flag, "linear_conv_kernel_dim": .integer, "linear_key_head_dim": .integer,
    "linear_num_key_heads": .integer, "linear_num_value_heads": .integer,
    "linear_value_head_dim": .integer, "shared_expert_intermediate_size": .integer,
  ]

  /// The same with these keys too.
  func adding(_ more: Self) -> Self { merging(more) { _, new in new } }
}
