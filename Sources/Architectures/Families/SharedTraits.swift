// SPDX-License-Identifier: Apache-2.0
//
// Config keys, routing and caveats that several families share. Order and defaults are those of
// transformers 5.23 and llama.cpp 0.5.0-dev (ggml 0.25). Of two spellings that a configuration
// class knows, the one that is not its field wins: transformers sets it last.

import Routing

extension Key where Value == Int {
  static func topK(default fallback: Int?) -> Key {
    Key("num_experts_per_tok", default: fallback)
  }

  /// Families whose experts have a width of their own.
  static func expertWidth(default fallback: Int?) -> Key {
    Key("moe_intermediate_size", default: fallback)
  }

  static var mtpLayers: Key {
    Key("num_nextn_predict_layers", "num_mtp_layers", default: 1, null: .means(0))
  }

  /// Families all of whose FFNs are experts, and others' dense layers.
  static func denseWidth(default fallback: Int?) -> Key {
    Key("intermediate_size", default: fallback)
  }
}

extension Sparsity {
  static func firstDense(default fallback: Int) -> Sparsity {
    .afterLeadingDense(Key("first_k_dense_replace", default: fallback))
  }

  static let qwen = Sparsity.stepped(
    step: Key("decoder_sparse_step", default: 1), dense: "mlp_only_layers")

  static let ggufLeadingDense = Sparsity.afterLeadingDense(
    Key("leading_dense_block_count", default: 0))
}

extension RoutingTraits {
  /// Qwen's: softmax over all experts in Float32, weights renormalised if the config says so.
  static func softmax(normalise: Switch) -> RoutingTraits {
    RoutingTraits(scoring: .fixed(.softmax), normalise: normalise)
  }

  /// DeepSeek-V3's `noaux_tc`: sigmoid, expert groups by the sum of their two best biased scores.
  static func sigmoidGroups(
    count: Int, kept: Int, normalise: Key<Bool>, scale: Double
  ) -> RoutingTraits {
    RoutingTraits(
      scoring: .fixed(.sigmoid), normalise: .key(normalise),
      guarding: .fixed(.add(1e-20)),
      scale: .key(Key("routed_scaling_factor", default: scale), zeroIsOne: false),
      groups: Groups(
        count: Key("n_group", default: count), kept: Key("topk_group", default: kept),
        score: .topTwoSum, mask: .negativeInfinity))
  }

  /// llama.cpp's common routing code: Float32 throughout, group keys honoured for every
  /// architecture, and the weights' sum clamped to the smallest normal half (2^-14).
  static func llamaCpp(
    _ scoring: Scoring, normalise: Switch, scale: Scale = .one
  ) -> RoutingTraits {
    RoutingTraits(
      scoring: scoring, normalise: normalise, guarding: .fixed(.clamp(0x1p-14)), scale: scale,
      groups: Groups(
        count: Key("expert_group_count", default: 0),
        kept: Key("expert_group_used_count", default: 0),
        score: .topTwoSum, mask: .negativeInfinity, mayBeAbsent: true))
  }

  /// The architectures for which llama.cpp reads normalisation, scale and gating function.
  static func llamaCppFromKeys(_ scoring: Scoring) -> RoutingTraits {
    llamaCpp(
      scoring, normalise: .key(Key("expert_weights_norm", default: false)),
      scale: .key(Key("expert_weights_scale", default: 0), zeroIsOne: true))
  }
}

/// Where transformers follows the configuration, and llama.cpp has a constant.
enum SharedCaveats {
  /// llama.cpp renormalises the weights always, or never.
  static func llamaCppNormalises(_ constant: Bool) -> Caveat {
    { subject in
      guard subject.rule.normalise != constant else { return nil }
      return "norm_topk_prob is \(subject.rule.normalise), but llama.cpp always routes"
        + " \(subject.title) with it \(constant ? "on" : "off"): a GGUF of this model weighs"
        + " experts differently"
    }
  }

  static let llamaCppHasNoDenseLayers: Caveat = { subject in
    guard subject.moeLayers < subject.layerCount else { return nil }
    return "\(subject.layerCount - subject.moeLayers) of \(subject.layerCount) layers are dense:"
      + " llama.cpp cannot load \(subject.title) with dense layers"
  }
}

extension Key where Value == Bool {
  static func normTopK(default fallback: Bool, null: Null = .refused) -> Key {
    Key("norm_topk_prob", default: fallback, null: null)
  }
}

extension ProjectionBiases {
  /// Where `attention_bias` says so.
  static func attentionBias(output: Bool) -> ProjectionBiases {
    ProjectionBiases(key: Key("attention_bias", default: false), output: output)
  }
}
