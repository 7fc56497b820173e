// SPDX-License-Identifier: Apache-2.0
//
// Gradients of sum(G * sim(z, p)) for an upstream gradient G [T,F]:
//
//   dot      dz = G p,  dp = Gᵀ z
//   cosine   with unit vectors ẑ, p̂:  dẑ = G p̂,  dz = (dẑ - (dẑ . ẑ) ẑ) / |z|, and so for p
//   cross-attention, distances: CrossAttentionGradient.swift, DistanceGradient.swift

package import Routing
package import Tensors

/// The gradient of a similarity with respect to everything it depends on.
package struct SimilarityGradient: Sendable {
  /// [T,R]
  package var mean: Matrix
  /// [T,R]; nil where the similarity does not use it, or the encoder has none.
  package var logVariance: Matrix?
  /// [F,R]
  package var prototypes: Matrix
  /// In the order of `Similarity.parameters`.
  package var parameters: [Matrix] = []
}

extension PrototypeRouter.Similarity {
  /// What the measure itself learns: ls [1,R]; query then key W [R,R], b, g [1,R]; lv_p [F,R].
  package var parameters: [Matrix] {
    get {
      switch self {
      case .dot, .cosine, .gaussianKernel: []
      case .mahalanobis(let logSigma): [Matrix(row: logSigma)]
      case .crossAttention(let attention):
        [attention.query, attention.key].flatMap {
          [$0.weight, Matrix(row: $0.bias), Matrix(row: $0.norm)]
        }
      case .divergence(_, let logVariances): [logVariances]
      }
    }
    set {
      precondition(newValue.count == parameters.count)
      switch self {
      case .dot, .cosine, .gaussianKernel: break
      case .mahalanobis: self = .mahalanobis(logSigma: newValue[0].values)
      case .crossAttention:
        func side(_ first: Int) -> CrossAttention.Side {
          CrossAttention.Side(
            weight: newValue[first], bias: newValue[first + 1].values,
            norm: newValue[first + 2].values)
        }
        self = .crossAttention(CrossAttention(query: side(0), key: side(3)))
      case .divergence(let divergence, _): self = .divergence(divergence, logVariances: newValue[0])
      }
    }
  }

  /// The gradient at `latent` and `prototypes`, where the similarities are `values` [T,F].
  package func gradient(
    _ latent: LatentGaussian, prototypes: Matrix, values: Matrix, upstream: Matrix, threads: Int
  ) -> SimilarityGradient {
    switch self {
    case .dot:
      return SimilarityGradient(
        mean: LinearAlgebra.multiply(upstream, prototypes, threads: threads),
        prototypes: LinearAlgebra.multiply(upstream.transposed(), latent.mean, threads: threads))
    case .cosine:
      let tokens = latent.mean.normalised(floor: Self.cosineFloor)
      let units = prototypes.normalised(floor: Self.cosineFloor)
      return SimilarityGradient(
        mean: LinearAlgebra.multiply(upstream, units, threads: threads)
          .throughNormalisation(of: latent.mean, floor: Self.cosineFloor),
        prototypes: LinearAlgebra.multiply(upstream.transposed(), tokens, threads: threads)
          .throughNormalisation(of: prototypes, floor: Self.cosineFloor))
    case .crossAttention(let attention):
      return attention.gradient(
        latent.mean, prototypes: prototypes, upstream: upstream, threads: threads)
    case .gaussianKernel, .mahalanobis, .divergence:
      guard let distance = PrototypeDistance(self, prototypes: prototypes) else {
        preconditionFailure("every remaining similarity has a distance")
      }
      return distance.gradient(latent, values: values, upstream: upstream, threads: threads)
    }
  }
}

extension Matrix {
  /// This gradient with respect to rows divided by max(norm, `floor`), taken to the rows as they
  /// are.
  package func throughNormalisation(of rows: Matrix, floor: Float) -> Matrix {
    precondition(self.rows == rows.rows && columns == rows.columns)
    var result = self
    for (row, norm) in rows.rowNorms().enumerated() {
      let range = row * columns..<(row + 1) * columns
      let scale = 1 / max(norm, floor)
      var along = 0.0
      if norm > floor {
        for index in range { along += Double(values[index]) * Double(rows.values[index] * scale) }
      }
      for index in range {
        result.values[index] = (values[index] - Float(along) * rows.values[index] * scale) * scale
      }
    }
    return result
  }
}
