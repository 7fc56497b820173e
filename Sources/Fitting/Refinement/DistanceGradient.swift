// SPDX-License-Identifier: Apache-2.0
//
// Gradients of the similarities h(Q), Q = sum_d q_d, of Routing/PrototypeDistance.swift. With
// S = h(Q), e = mu - p, and what q depends on:
//
//                    h'            dq/de     dq/dlv              dq/dlv_p
//   Gaussian kernel  -S / 2        2e
//   Mahalanobis      -S²           2 u e     dq/dls = -u e², u = exp(-ls)
//   KL               -1            e / w     (v / w - 1) / 2     (1 - (v + e²) / w) / 2
//   JS               -1            e / 4m    a v / 2 - 1/4       a w / 2 - 1/4
//                                            a = 1 / 2m - e² / 8m²
//   Hellinger        -(1 - S²) / 2|S|  e / 2s  a v - 1/4         a w - 1/4
//                                            a = 1 / 2s - e² / 4s², all 0 where q is clamped
//   2-Wasserstein    -1 / 2|S|     2e        (x - y) x           -(x - y) y, x = sqrt v, y = sqrt w
//
// Log-variances at the clamp get no gradient. Hellinger's slope at distance 0 is infinite: |S| is
// kept above 1e-4.

import Foundation
package import Routing
package import Tensors

extension PrototypeDistance {
  private static let blockTokens = 128
  private static let smallestDistance: Float = 1e-4

  /// Sums over the tokens of one block.
  private struct Part: Sendable {
    var mean: [Float] = []
    var logVariance: [Float] = []
    /// [R,F]
    var prototypes: [Float]
    var prototypeLogVariances: [Float]
    var logSigma: [Float]
  }

  package func gradient(
    _ latent: LatentGaussian, values: Matrix, upstream: Matrix, threads: Int
  ) -> SimilarityGradient {
    let (size, count) = (prototypes.rows, prototypes.columns)
    let parts = mapBlocks(
      count: latent.mean.rows, blockSize: Self.blockTokens, threads: threads
    ) { _, tokens in
      var part = Part(
        prototypes: [Float](repeating: 0, count: size * count),
        prototypeLogVariances: [Float](repeating: 0, count: logVariances.values.count),
        logSigma: [Float](repeating: 0, count: size))
      var slopes = [Float](repeating: 0, count: count)
      for token in tokens {
        for index in 0..<count {
          let place = token * count + index
          slopes[index] = upstream.values[place] * slope(values.values[place])
        }
        for dimension in 0..<size {
          let place = token * size + dimension
          descend(
            mean: latent.mean.values[place], logVariance: latent.logVariance?.values[place] ?? 0,
            dimension, slopes: slopes.span, &part)
        }
      }
      return part
    }
    return combine(parts, latent)
  }

  private func combine(_ parts: [Part], _ latent: LatentGaussian) -> SimilarityGradient {
    let (size, count) = (prototypes.rows, prototypes.columns)
    func total(_ values: (Part) -> [Float], _ rows: Int, _ columns: Int) -> Matrix {
      var sums = [Double](repeating: 0, count: rows * columns)
      for part in parts {
        for (index, value) in values(part).enumerated() { sums[index] += Double(value) }
      }
      return Matrix(rows: rows, columns: columns, values: sums.map { Float($0) })
    }
    var gradient = SimilarityGradient(
      mean: Matrix(
        rows: latent.mean.rows, columns: size, values: parts.flatMap(\.mean)),
      prototypes: total(\.prototypes, size, count).transposed())
    switch form {
    case .gaussian: break
    case .mahalanobis: gradient.parameters = [total(\.logSigma, 1, size)]
    default:
      if latent.logVariance != nil {
        gradient.logVariance = Matrix(
          rows: latent.mean.rows, columns: size, values: parts.flatMap(\.logVariance))
      }
      gradient.parameters = [total(\.prototypeLogVariances, size, count).transposed()]
    }
    return gradient
  }

  /// h' where h is `value`.
  private func slope(_ value: Float) -> Float {
    switch form {
    case .gaussian: -value / 2
    case .mahalanobis: -value * value
    case .kl, .js: -1
    case .hellinger: -(1 - value * value) / (2 * max(-value, Self.smallestDistance))
    case .wasserstein: -1 / (2 * max(-value, Self.smallestDistance))
    }
  }

  /// Adds one token's part in one dimension.
  private func descend(
    mean: Float, logVariance: Float, _ dimension: Int, slopes: Span<Float>, _ part: inout Part
  ) {
    let count = slopes.count
    let row = dimension * count..<(dimension + 1) * count
    let centres = prototypes.values.span.extracting(row)
    precondition(centres.count == count)
    var meanSum: Float = 0
    if form == .gaussian || form == .mahalanobis {
      let weight = weights[dimension]
      var squares: Float = 0
      for index in 0..<count {
        let distance = mean - centres[index]
        let term = slopes[index] * weight * distance
        meanSum += 2 * term
        squares += term * distance
        part.prototypes[row.lowerBound + index] -= 2 * term
      }
      part.logSigma[dimension] -= squares
    } else {
      let clamped = max(logVariance, Self.lowestLogVariance)
      let logs = logVariances.values.span.extracting(row)
      let wide = spreads.values.span.extracting(row)
      let spread = expf(form == .wasserstein ? 0.5 * clamped : clamped)
      var varianceSum: Float = 0
      for index in 0..<count {
        let slopes = slopes[index]
        let terms = self.terms(
          mean - centres[index], spread, wide[index], clamped + logs[index])
        meanSum += slopes * terms.distance
        varianceSum += slopes * terms.own
        part.prototypes[row.lowerBound + index] -= slopes * terms.distance
        if logs[index] > Self.lowestLogVariance {
          part.prototypeLogVariances[row.lowerBound + index] += slopes * terms.other
        }
      }
      part.logVariance.append(logVariance < Self.lowestLogVariance ? 0 : varianceSum)
    }
    part.mean.append(meanSum)
  }

  /// dq/de, dq/dlv and dq/dlv_p of a divergence; `own` and `other` are v and w, or their roots for
  /// 2-Wasserstein, `logs` is lv + lv_p.
  @inline(__always)
  private func terms(
    _ e: Float, _ own: Float, _ other: Float, _ logs: Float
  ) -> (distance: Float, own: Float, other: Float) {
    switch form {
    case .kl:
      return (e / other, 0.5 * (own / other - 1), 0.5 * (1 - (own + e * e) / other))
    case .js:
      let middle = 0.5 * (own + other)
      let a = (0.5 - e * e / (8 * middle)) / middle
      return (e / (4 * middle), 0.5 * a * own - 0.25, 0.5 * a * other - 0.25)
    case .hellinger:
      let sum = own + other + Self.hellingerEpsilon
      let term = Self.hellingerTerm(e * e, own + other, logs)
      guard term > 0, term < -Self.lowestLogVariance else { return (0, 0, 0) }
      let a = (0.5 - e * e / (4 * sum)) / sum
      return (e / (2 * sum), a * own - 0.25, a * other - 0.25)
    case .gaussian, .mahalanobis, .wasserstein:
      return (2 * e, (own - other) * own, (other - own) * other)
    }
  }
}
