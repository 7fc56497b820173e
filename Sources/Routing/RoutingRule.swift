// SPDX-License-Identifier: Apache-2.0

/// How a family turns router logits into chosen experts and weights.
///
/// Shapes: T tokens, H hidden size, E experts, K top-k.
package struct RoutingRule: Sendable, Hashable {
  /// What turns a logit into the score pi.
  package enum Scoring: String, Sendable, Hashable, Codable {
    /// Softmax over all experts, in Float32.
    case softmax
    /// Each logit by itself.
    case sigmoid
    /// Top-k on the logits, then a softmax over the chosen ones (GPT-OSS).
    case softmaxOfSelected = "softmax_of_selected"
    /// Phi-3.5-MoE's two-step sparse mixer, K = 2.
    case sparseMixer = "sparse_mixer"
    /// sqrt(softplus(logit)), GGUF gating function 4.
    case sqrtSoftplus = "sqrt_softplus"
  }

  /// What keeps the renormalising division from dividing by zero.
  package enum Guard: Sendable, Hashable {
    case none
    /// `w / (sum + epsilon)`: transformers' DeepSeek-V3 and GLM-4.5, 1e-20.
    case add(Float)
    /// `w / max(sum, floor)`: llama.cpp 6.103515625e-5, ERNIE 1e-12.
    case clamp(Float)
  }

  /// Group-limited selection: experts in `count` consecutive groups, of which `kept` may be used.
  package struct Groups: Sendable, Hashable {
    /// A group's score: its largest score, or the sum of its two largest.
    package enum Score: String, Sendable, Hashable { case max, topTwoSum = "top_two_sum" }
    /// What the scores of the other groups become.
    package enum Mask: String, Sendable, Hashable { case negativeInfinity, zero }
    package var count: Int
    package var kept: Int
    package var score: Score
    package var mask: Mask

    package init(count: Int, kept: Int, score: Score, mask: Mask) {
      self.count = count
      self.kept = kept
      self.score = score
      self.mask = mask
    }
  }

  /// E.
  package var experts: Int
  /// K.
  package var topK: Int
  package var scoring: Scoring
  /// Divide the chosen weights by their sum.
  package var normalise: Bool
  package var normaliseGuard: Guard
  /// Multiplies the chosen weights, after renormalising.
  package var scale: Float
  package var groups: Groups?
  /// The sparse mixer's `router_jitter_noise`; other scorings ignore it.
  package var jitter: Float

  package init(
    experts: Int, topK: Int, scoring: Scoring, normalise: Bool, normaliseGuard: Guard = .none,
    scale: Float = 1, groups: Groups? = nil, jitter: Float = 0.01
  ) {
    self.experts = experts
    self.topK = topK
    self.scoring = scoring
    self.normalise = normalise
    self.normaliseGuard = normaliseGuard
    self.scale = scale
    self.groups = groups
    self.jitter = jitter
  }
}
