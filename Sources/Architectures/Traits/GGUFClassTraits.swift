// SPDX-License-Identifier: Apache-2.0

/// What llama.cpp creates for an architecture, beside what it creates for every one of these.
package struct GGUFClassTraits: Sendable {
  /// Whether small files of the architecture were loaded in llama.cpp.
  package var wasRun = false
  /// The output matrix; where it is optional, the embedding stands for it.
  var output = Presence.optional
  package var outputBias = false
  /// RMS norms over hidden states have biases.
  package var normBiases = false
  /// The widths of queries and of the context are the hidden size.
  var queriesAreHidden = false
  /// Heads are as wide as what is rotated.
  var headsAreRotated = false
  /// It stops where less than a whole head is rotated.
  var rotatesWholeHeads = true
  /// Keys and values have as many heads as queries.
  var keysHaveAllHeads = false
  var outputProjectionBias = Presence.absent
  var headNorms = HeadNorms.none
  package var rotationFactors = RotationFactors.none
  /// The first `leading_dense_block_count` layers are dense.
  var hasDenseLayers = false
  /// An expert's gate matrix may be absent.
  var gateIsOptional = false
  /// Experts are as wide as `feed_forward_length`, whatever their own key says.
  var expertsAreDenseWide = false
  var shared = Shared.none
  var sinks = false
  var expertBiases = false
  /// Layers for multi-token prediction are created.
  var predicts = false
  /// Keys without which it stops, beside those of every architecture, and their types.
  var required: [String: GGUFKeyType] = [:]
  /// Keys that it reads where they are there.
  var optional: [String: GGUFKeyType] = [:]

  enum Presence: Sendable { case absent, optional, required }

  enum HeadNorms: Sendable {
    case none
    case perHead
    case perHeadIfStored
    /// Over the hidden size, keys too.
    case hidden
    /// Over the whole projected width.
    case wholeWidth
  }

  package enum RotationFactors: Sendable {
    case none
    /// `rope_factors_long` and `_short` for longrope, `rope_freqs` otherwise.
    case byScaling
    case longRope
    /// `rope_freqs`, of the layers that see all tokens.
    case required
  }

  enum Shared: Sendable {
    case none
    /// As wide as `expert_shared_count` experts.
    case counted
    /// The same, but nothing where the count is 0.
    case countedIfAny
    /// `expert_shared_feed_forward_length` wide, if the key is there.
    case byWidth
    /// The same, or else `feed_forward_length` wide, with a gate.
    case gated
    /// The layer's dense network, `feed_forward_length` wide.
    case dense
  }
}

/// The types of GGUF values that llama.cpp takes for a key; it stops at others.
enum GGUFKeyType: String, Sendable {
  case u32, f32, bool, string = "str"
  /// One for each layer.
  case flags = "an array of bool"
  /// One value, or one for each layer.
  case u32PerLayer = "u32 or an array"
  /// How many of the rotated pairs each of four positions has.
  case sections = "an array of four i32"
}

extension [String: GGUFKeyType] {
  /// A sparse indexer.
  static let indexer: Self = [
    "attention.indexer.head_count": .u32, "attention.indexer.key_length": .u32,
    "attention.indexer.top_k": .u32,
  ]

  /// Latent attention without one.
  static let unindexed: Self = [
    "vocab_size": .u32, "attention.temperature_scale": .f32, "attention.temperature_length": .u32,
  ]

  /// Gated delta nets.
  static let delta: Self = [
    "ssm.conv_kernel": .u32, "ssm.inner_size": .u32, "ssm.state_size": .u32,
    "ssm.time_step_rank": .u32, "ssm.group_count": .u32,
  ]

  /// How chosen experts are weighed, and how many layers come before them.
  static let weighing: Self = [
    "leading_dense_block_count": .u32, "expert_weights_scale": .f32, "expert_weights_norm": .bool,
    "expert_gating_func": .u32,
  ]
}
