// SPDX-License-Identifier: Apache-2.0
//
// Similarities that are a function h of a sum over latent dimensions, Q = sum_d q_d, with
// e = mu_d - p_d, v = exp lv, w = exp lv_p, m = (v + w) / 2 (diagonal Gaussians):
//
//   Gaussian kernel  q = e²                                     h = exp(-Q / 2)
//   Mahalanobis      q = exp(-ls_d) e²                          h = 1 / (1 + Q)
//   KL               q = (lv_p - lv + (v + e²) / w - 1) / 2     h = -Q
//   JS               q = log(m) / 2 - (lv + lv_p) / 4 + e² / 8m h = -Q
//   Hellinger        q = -log clamp(sqrt(2 sqrt(v w) / s) exp(-e² / 4s), 1e-6, 1), s = v + w + 1e-6
//                                                               h = -sqrt(1 - exp(-Q))
//   2-Wasserstein    q = e² + (sqrt v - sqrt w)²                h = -sqrt(Q + 1e-6)
//
// 1. The formulas of the official code, which clamps variances at 1e-6; here log-variances are
//    clamped at log 1e-6 with them, so that KL of a distribution from itself is 0. JS is the mean
//    of the two KL from the midpoint (m, and the mean of the means), simplified.
// 2. Never under- or overflow where the result does not: differences before squares, Hellinger's
//    product as a sum of logarithms, 1 - exp by expm1.
// 3. Speed: dimensions outside, prototypes inside, so that the inner loop runs over F neighbours.

import Foundation
package import Tensors

/// One such similarity with its prototypes laid out for the inner loop.
package struct PrototypeDistance: Sendable {
  package enum Form: Sendable { case gaussian, mahalanobis, kl, js, hellinger, wasserstein }

  /// log 1e-6
  package static let lowestLogVariance: Float = -13.815511
  package static let hellingerEpsilon: Float = 1e-6
  package static let wassersteinEpsilon: Float = 1e-6

  package let form: Form
  /// p, [R,F]
  package let prototypes: Matrix
  /// exp(-ls) [R] of Mahalanobis, else 1.
  package let weights: [Float]
  /// lv_p clamped, [R,F]; no rows for point prototypes.
  package let logVariances: Matrix
  /// w, or its root for 2-Wasserstein, [R,F].
  package let spreads: Matrix

  /// Nil for similarities that are not of this kind.
  package init?(_ similarity: PrototypeRouter.Similarity, prototypes: Matrix) {
    let none = Matrix(rows: 0, columns: prototypes.rows)
    self.prototypes = prototypes.transposed()
    switch similarity {
    case .dot, .cosine, .crossAttention: return nil
    case .gaussianKernel, .mahalanobis:
      if case .mahalanobis(let logSigma) = similarity {
        form = .mahalanobis
        weights = logSigma.map { expf(-$0) }
      } else {
        form = .gaussian
        weights = [Float](repeating: 1, count: prototypes.columns)
      }
      logVariances = none
      spreads = none
    case .divergence(let divergence, let values):
      precondition(values.rows == prototypes.rows && values.columns == prototypes.columns)
      form =
        switch divergence {
        case .kullbackLeibler: .kl
        case .jensenShannon: .js
        case .hellinger: .hellinger
        case .wasserstein: .wasserstein
        }
      var clamped = values.transposed()
      for index in clamped.values.indices {
        clamped.values[index] = max(clamped.values[index], Self.lowestLogVariance)
      }
      var spreads = clamped
      let power: Float = form == .wasserstein ? 0.5 : 1
      for index in spreads.values.indices {
        spreads.values[index] = expf(power * spreads.values[index])
      }
      weights = [Float](repeating: 1, count: prototypes.columns)
      logVariances = clamped
      self.spreads = spreads
    }
  }

  /// h [T,F]
  func values(_ latent: LatentGaussian, threads: Int) -> Matrix {
    let (size, count) = (prototypes.rows, prototypes.columns)
    return Matrix.filling(
      rows: latent.mean.rows, columns: count, threads: threads
    ) { tokens, block in
      var sums = [Float](repeating: 0, count: count)
      for token in tokens {
        for index in 0..<count { sums[index] = 0 }
        for dimension in 0..<size {
          let logVariance = latent.logVariance.map {
            max($0.values[token * size + dimension], Self.lowestLogVariance)
          }
          var span = sums.mutableSpan
          add(
            latent.mean.values[token * size + dimension], logVariance ?? 0, dimension, to: &span)
        }
        for index in 0..<count { block.append(similarity(sums[index])) }
      }
    }
  }

  /// h of Q.
  @inline(__always)
  private func similarity(_ sum: Float) -> Float {
    switch form {
    case .gaussian: expf(-sum / 2)
    case .mahalanobis: 1 / (1 + sum)
    case .kl, .js: -sum
    case .hellinger: -(-expm1f(-max(0, sum))).squareRoot()
    case .wasserstein: -(sum + Self.wassersteinEpsilon).squareRoot()
    }
  }

  /// Adds q of one dimension for all prototypes to `sums` [F].
  private func add(
    _ mean: Float, _ logVariance: Float, _ dimension: Int, to sums: inout MutableSpan<Float>
  ) {
    let count = sums.count
    let row = dimension * count..<(dimension + 1) * count
    let centres = prototypes.values.span.extracting(row)
    precondition(centres.count == count)
    switch form {
    case .gaussian, .mahalanobis:
      let weight = weights[dimension]
      for index in 0..<count {
        let distance = mean - centres[index]
        sums[index] += weight * (distance * distance)
      }
    case .wasserstein:
      let roots = spreads.values.span.extracting(row)
      let root = expf(0.5 * logVariance)
      for index in 0..<count {
        let distance = mean - centres[index]
        let spread = root - roots[index]
        sums[index] += distance * distance + spread * spread
      }
    case .kl, .js, .hellinger:
      addLogarithmic(mean, logVariance, row, centres, to: &sums)
    }
  }

  private func addLogarithmic(
    _ mean: Float, _ logVariance: Float, _ row: Range<Int>, _ centres: Span<Float>,
    to sums: inout MutableSpan<Float>
  ) {
    let count = sums.count
    let variances = spreads.values.span.extracting(row)
    let logs = logVariances.values.span.extracting(row)
    precondition(variances.count == count && logs.count == count)
    let variance = expf(logVariance)
    for index in 0..<count {
      let distance = mean - centres[index]
      let square = distance * distance
      switch form {
      case .kl:
        sums[index] +=
          0.5 * (logs[index] - logVariance + (variance + square) / variances[index] - 1)
      case .js:
        let middle = 0.5 * (variance + variances[index])
        sums[index] +=
          0.5 * logf(middle) - 0.25 * (logVariance + logs[index]) + square / (8 * middle)
      default:
        sums[index] += Self.hellingerTerm(
          square, variance + variances[index], logVariance + logs[index])
      }
    }
  }

  /// q of Hellinger from e², v + w and lv + lv_p.
  @inline(__always)
  package static func hellingerTerm(_ square: Float, _ sum: Float, _ logs: Float) -> Float {
    let total = sum + hellingerEpsilon
    let term = square / (4 * total) - 0.5 * (0.6931472 + 0.5 * logs - logf(total))
    return min(max(term, 0), -lowestLogVariance)
  }
}
