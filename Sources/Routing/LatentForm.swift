// SPDX-License-Identifier: Apache-2.0

extension PrototypeRouter {
  /// Encoder and similarity of a router, without their parameters.
  public struct LatentForm: Sendable, Hashable {
    public var encoder: EncoderKind
    public var similarity: Similarity.Kind

    public init(encoder: EncoderKind = .linear, similarity: Similarity.Kind = .dot) {
      self.encoder = encoder
      self.similarity = similarity
    }

    /// Linear encoder and dot product: the one form that can be any linear gate exactly.
    public var isLinear: Bool { self == LatentForm() }
  }

  public var form: LatentForm {
    LatentForm(encoder: encoder.kind, similarity: similarity.kind)
  }
}

extension PrototypeRouter.Similarity.Kind {
  /// Whether a scale multiplies the similarities; the others have theirs in what they multiply.
  public var hasScale: Bool { self != .dot && self != .crossAttention }

  /// The largest latent size that is of use for `experts` experts: cosine and cross-attention
  /// compare directions, and spend one dimension on what would have been lengths.
  package func largestSize(experts: Int) -> Int {
    self == .cosine || self == .crossAttention ? experts + 1 : experts
  }
}
