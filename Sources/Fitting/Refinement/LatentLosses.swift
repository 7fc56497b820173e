// SPDX-License-Identifier: Apache-2.0
//
// LPR's KL and alignment losses, and a balance term that gradients can follow.
//
//   KL       mean over tokens of -1/2 sum_d (1 + lv - mu² - exp lv)
//   align    mean over f, d of |p - stop(target)|, target = R(esponsibilities)ᵀ z
//   balance  sum_f (s_f - u_f)² / u_f,   s_f = mean over tokens of q_f,  u: wanted shares
//
// The official alignment has two faults. Its R is a softmax over K scores and F - K zeros, so that
// experts that were not chosen keep weight; and its target is a sum over the batch, which grows
// with the batch. Mended, R holds the routing weights of the chosen experts and nothing else, the
// target is the mean latent of an expert's tokens, and experts without tokens are left out.

import Foundation
package import Routing
package import Tensors

/// LPR's losses on latents and prototypes, with their gradients.
package enum LatentLosses {
  /// KL from the unit Gaussian; the gradients are with respect to mu and lv.
  package static func divergence(
    _ mean: Matrix, logVariance: Matrix
  ) -> (value: Double, mean: Matrix, logVariance: Matrix) {
    precondition(mean.values.count == logVariance.values.count)
    let tokens = Double(max(1, mean.rows))
    var value = 0.0
    var meanGradient = mean
    var varianceGradient = logVariance
    for index in mean.values.indices {
      let (m, lv) = (Double(mean.values[index]), Double(logVariance.values[index]))
      value -= 0.5 * (1 + lv - m * m - exp(lv))
      meanGradient.values[index] = Float(m / tokens)
      varianceGradient.values[index] = Float(0.5 * expm1(lv) / tokens)
    }
    return (value / tokens, meanGradient, varianceGradient)
  }

  /// z = mu + exp(lv / 2) noise.
  package static func sample(_ latent: LatentGaussian, noise: Matrix) -> Matrix {
    var result = latent.mean
    for index in result.values.indices {
      let deviation = latent.logVariance.map { expf($0.values[index] / 2) } ?? 1
      result.values[index] += deviation * noise.values[index]
    }
    return result
  }

  /// The alignment loss as it was meant, and its gradient with respect to `prototypes` [F,R].
  ///
  /// `sample` [T,R] is z, `responsibilities` [T,F] the routing weights of chosen logical experts.
  package static func alignment(
    prototypes: Matrix, sample: Matrix, responsibilities: Matrix
  ) -> (value: Double, gradient: Matrix) {
    var targets = sums(responsibilities, sample)
    let counts = responsibilities.columnSums().values
    for row in 0..<targets.rows where counts[row] > 0 {
      for column in 0..<targets.columns { targets[row, column] /= counts[row] }
    }
    return distance(prototypes, targets, counts: counts.map { $0 > 0 })
  }

  /// Rᵀ z [F,R]
  private static func sums(_ responsibilities: Matrix, _ sample: Matrix) -> Matrix {
    LinearAlgebra.multiply(responsibilities.transposed(), sample)
  }

  private static func distance(
    _ prototypes: Matrix, _ targets: Matrix, counts: [Bool]
  ) -> (value: Double, gradient: Matrix) {
    let entries = counts.count { $0 } * prototypes.columns
    var gradient = Matrix(rows: prototypes.rows, columns: prototypes.columns)
    guard entries > 0 else { return (0, gradient) }
    var sum = 0.0
    for row in 0..<prototypes.rows where counts[row] {
      for column in 0..<prototypes.columns {
        let difference = prototypes[row, column] - targets[row, column]
        sum += Double(abs(difference))
        gradient[row, column] =
          (difference > 0 ? 1 : difference < 0 ? -1 : 0) / Float(entries)
      }
    }
    return (sum / Double(entries), gradient)
  }

  /// The balance term of `shares` [T,F], rows that sum to 1, and its gradient with respect to them;
  /// `targets` [F] are positive and sum to 1.
  package static func balance(
    _ shares: Matrix, targets: [Double]
  ) -> (value: Double, gradient: [Float]) {
    precondition(targets.count == shares.columns && targets.allSatisfy { $0 > 0 })
    let tokens = Double(max(1, shares.rows))
    let means = shares.columnMeans(threads: 1)
    var value = 0.0
    // The same for every token.
    let gradient = zip(means, targets).map { mean, target in
      value += (mean - target) * (mean - target) / target
      return Float(2 * (mean - target) / target / tokens)
    }
    return (value, gradient)
  }
}

extension Assignment {
  /// The routing weights as a matrix [T,F], 0 for logical experts that a token did not choose.
  package func responsibilities(physicalToLogical: [Int], logicals: Int) -> Matrix {
    var result = Matrix(rows: tokens, columns: logicals)
    for (entry, physical) in experts.enumerated() {
      result[entry / topK, physicalToLogical[Int(physical)]] += weights[entry]
    }
    return result
  }
}
