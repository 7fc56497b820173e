// SPDX-License-Identifier: Apache-2.0

package import Checkpoints
package import Routing

/// How llama.cpp reads a family, and its converter writes it. Keys are without `{arch}.`.
package struct GGUFTraits: Sendable {
  /// Nil: llama.cpp has none of its own for the family.
  package var architecture: String?
  /// Tells the family's files from those of others with the same architecture; nil: they are the
  /// family's where no other one recognises them.
  package var recognises: (@Sendable (GGUFCheckpoint) -> Bool)?
  package var expertWidth: ExpertWidth = .own
  /// The width of what the experts read and write, where they lie between two projections.
  package var latentSize: Key<Int>?
  /// Top-k and the experts' width may differ from layer to layer.
  package var countsByLayer = false
  package var sparsity: Sparsity = .all
  package var selectionBias: BiasSupport = .ignored
  package var gateBias = false
  /// The name of the norm before the feed-forward part.
  package var feedForwardNorm = "ffn_norm"
  /// Whether llama.cpp accepts `ffn_gate_up_exps` for this architecture.
  package var fusedGateUp = false
  /// Whether the converter takes safetensors whose experts are fused.
  package var convertsFused = false
  package var routing: RoutingTraits
  /// Nil: there are no such factors. Of hidden states, 0 is none.
  package var multipliers: MultiplierTraits?
  /// Caps logits as `HuggingFaceTraits` has it; 0 is no cap.
  package var logitCap: Key<Double>?
  /// What llama.cpp creates for the architecture, of families that Regate runs.
  package var made = GGUFClassTraits()
  /// Keys with which llama.cpp computes what Regate does not, beside those that it reads for every
  /// architecture.
  package var uncomputed: [UncomputedKey] = []
  /// A scoring that llama.cpp takes for a file that names none, before the architecture's default.
  package var impliedScoring: (@Sendable (GGUFCheckpoint) -> RoutingRule.Scoring?)?
  /// The groups of the published models, in words, where old files left their keys out.
  package var publishedGroups: String?
  /// What llama.cpp does with the family's files that a user might not expect.
  var caveats: [Caveat] = []

  /// Of a family that llama.cpp does not have: nothing is read by this.
  static let absent = GGUFTraits(
    architecture: nil, routing: .llamaCpp(.fixed(.softmax), normalise: .fixed(false)))

  /// Where llama.cpp takes the experts' width from.
  package enum ExpertWidth: Sendable {
    /// `expert_feed_forward_length`, which must be there.
    case own
    /// `feed_forward_length` alone.
    case feedForward
    /// The former, or the latter shared out among the chosen experts.
    case ownOrFeedForwardOverTopK
  }
}
