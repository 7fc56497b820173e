// SPDX-License-Identifier: Apache-2.0
//
// How the families' tokens see one another (transformers 5.23; llama.cpp 0.5.0-dev for GGUF). What
// is particular to a family's mixers is data here; a kind's computation is under Inference/Mixers.

/// The kind of a family's token mixers, and what is particular to them.
package enum MixerTraits: Sendable {
  case groupedQuery(GroupedQueryTraits)
  case latent(LatentAttentionTraits)
}

/// Attention in which query heads share key and value heads.
package struct GroupedQueryTraits: Sendable {
  package enum QueryKeyNorm: Sendable {
    case none
    /// Over each head, before the rotation.
    case perHead
    /// Over each head, where a key says so.
    case perHeadIf(Key<Bool>)
    /// Over the whole projected width.
    case wholeWidth
  }

  package enum SlidingWindow: Sendable {
    case none
    /// `sliding_window` wherever it is set.
    case key
    /// `sliding_window` where `use_sliding_window` is set.
    case switched
    /// The same, on even layers below `max_window_layers`, or on those that `layer_types` names.
    case switchedOnEvenLayers
  }

  package var norm = QueryKeyNorm.none
  package var biases = ProjectionBiases()
  package var window = SlidingWindow.none
  package var rope = RopeTraits()
}

/// Multi-head latent attention (DeepSeek): queries, keys and values are expanded from bottlenecks,
/// and a part of each head alone is rotated.
package struct LatentAttentionTraits: Sendable {
  package var biases = ProjectionBiases()
  package var rope = RopeTraits()
}

/// Which projections have biases in safetensors files; GGUF files tell by what they hold.
package struct ProjectionBiases: Sendable {
  /// The key that gives them to the input projections; nil: never.
  package var key: Key<Bool>?
  /// Whether the output projection has one where the others have.
  package var output = false
}

/// How a family rotates queries and keys.
package struct RopeTraits: Sendable {
  /// Rotated pairs are (2i, 2i + 1) instead of (i, i + d/2).
  package var interleaved = Switch.fixed(false)
  /// The same in GGUF files, whose converter may have moved the rows.
  package var ggufInterleaved = false
  package var defaultTheta = 10_000.0
  /// The part of a head that is rotated.
  package var partialRotation = 1.0
  /// llama.cpp reads `rope.scaling.yarn_log_multiplier` for this architecture.
  package var readsYarnLogMultiplier = false
}
