// SPDX-License-Identifier: Apache-2.0
//
// How near a token's latent vector is to a prototype, after Latent Prototype Routing
// (arXiv 2506.21328) and its official code. T tokens, F prototypes, R latent.
//
//   dot                  mu . p
//   cosine               mu . p / (max(|mu|, 1e-8) max(|p|, 1e-8))
//   Gaussian kernel      exp(-|mu - p|² / 2)
//   Mahalanobis          1 / (1 + sum_d exp(-ls_d) (mu_d - p_d)²)
//   cross-attention      CrossAttention.swift
//   KL, JS, Hellinger,   minus the distance from N(mu, exp lv) to N(p, exp lv_p):
//   2-Wasserstein        PrototypeDistance.swift
//
// Two faults of the official code are mended. Its dot product returns one value where the caller
// takes two, and its distances between distributions cannot be constructed and read prototypes
// that do not exist; here both work by the formulas it states.

package import Tensors

extension PrototypeRouter {
  /// How near a latent vector is to a prototype, with what the measure itself learns.
  package enum Similarity: Sendable, Equatable {
    case dot
    case cosine
    case gaussianKernel
    /// Log-variances ls [R] of the distance.
    case mahalanobis(logSigma: [Float])
    case crossAttention(CrossAttention)
    /// Minus a distance between diagonal Gaussians; the prototypes' log-variances are [F,R].
    case divergence(Divergence, logVariances: Matrix)

    /// A distance between diagonal Gaussians.
    package enum Divergence: String, Sendable, Equatable, CaseIterable {
      /// KL(token || prototype)
      case kullbackLeibler = "kl"
      /// With the Gaussian midpoint of both.
      case jensenShannon = "js"
      case hellinger
      case wasserstein
    }

    package var kind: SimilarityKind {
      switch self {
      case .dot: .dot
      case .cosine: .cosine
      case .gaussianKernel: .gaussianKernel
      case .mahalanobis: .mahalanobis
      case .crossAttention: .crossAttention
      case .divergence(.kullbackLeibler, _): .kullbackLeibler
      case .divergence(.jensenShannon, _): .jensenShannon
      case .divergence(.hellinger, _): .hellinger
      case .divergence(.wasserstein, _): .wasserstein
      }
    }

    /// Whether tokens count as distributions, so that their variances route too.
    package var comparesDistributions: Bool {
      if case .divergence = self { true } else { false }
    }

    /// Cosine's guard against vectors of length 0.
    package static let cosineFloor: Float = 1e-8
  }
}

extension PrototypeRouter.Similarity {
  /// The similarities [T,F] of `latent` [T,R] and `prototypes` [F,R], before any scale and bias.
  package func values(
    _ latent: LatentGaussian, prototypes: Matrix, threads: Int
  ) -> Matrix {
    switch self {
    case .dot:
      return LinearAlgebra.multiply(latent.mean, transposed: prototypes, threads: threads)
    case .cosine:
      var values = LinearAlgebra.multiply(
        latent.mean, transposed: prototypes.normalised(floor: Self.cosineFloor), threads: threads)
      let norms = latent.mean.rowNorms()
      for token in 0..<values.rows {
        let scale = 1 / max(norms[token], Self.cosineFloor)
        for index in token * values.columns..<(token + 1) * values.columns {
          values.values[index] *= scale
        }
      }
      return values
    case .crossAttention(let attention):
      return attention.values(latent.mean, prototypes: prototypes, threads: threads)
    case .gaussianKernel, .mahalanobis, .divergence:
      guard let distance = PrototypeDistance(self, prototypes: prototypes) else {
        preconditionFailure("every remaining similarity has a distance")
      }
      return distance.values(latent, threads: threads)
    }
  }
}
