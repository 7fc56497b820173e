// SPDX-License-Identifier: Apache-2.0

/// The form of a prototype router's encoder.
public enum EncoderKind: String, Sendable, Hashable, CaseIterable {
  case linear
  /// LPR's Linear(SiLU(LayerNorm(x))).
  case gaussian = "lpr"
}

/// A prototype router's similarity without its parameters.
public enum SimilarityKind: String, Sendable, Hashable, CaseIterable {
  case dot, cosine
  case gaussianKernel = "gaussian"
  case mahalanobis
  case crossAttention = "cross_attention"
  case kullbackLeibler = "kl"
  case jensenShannon = "js"
  case hellinger, wasserstein

  /// Whether a scale multiplies the similarities; the others have theirs in what they multiply.
  package var hasScale: Bool { self != .dot && self != .crossAttention }

  /// The largest latent size that is of use for `experts` logical experts: cosine and
  /// cross-attention compare directions, and spend one dimension on what would have been lengths.
  package func largestSize(experts: Int) -> Int {
    self == .cosine || self == .crossAttention ? experts + 1 : experts
  }
}

/// Encoder and similarity of a prototype router, without their parameters.
public struct LatentForm: Sendable, Hashable {
  /// What maps a router input [H] to the latent space [R].
  public var encoder: EncoderKind
  /// What compares a latent vector with the prototypes.
  public var similarity: SimilarityKind

  public init(encoder: EncoderKind = .linear, similarity: SimilarityKind = .dot) {
    self.encoder = encoder
    self.similarity = similarity
  }

  /// Linear encoder and dot product: the one form that can be any linear gate exactly.
  package var isLinear: Bool { self == LatentForm() }
}

extension PrototypeRouter {
  package var form: LatentForm {
    LatentForm(encoder: encoder.kind, similarity: similarity.kind)
  }
}
