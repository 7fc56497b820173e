// SPDX-License-Identifier: Apache-2.0
//
// The encoder of Latent Prototype Routing (arXiv 2506.21328): a diagonal Gaussian per token.
//
//   u       = (x - mean x) / sqrt(var x + 1e-5) * g + c        LayerNorm over H, biased variance
//   v       = u / (1 + exp(-u))                                SiLU
//   [mu lv] = v · Wᵀ + b                                     W [2R,H]: mean rows, then log-variance
//
// Only mu routes. lv serves the KL loss, the sample that the alignment loss and the EMA update
// take, and the similarities between distributions.

import Foundation
package import Tensors

/// What an encoder makes of T tokens.
package struct LatentGaussian: Sendable, Equatable {
  /// mu [T,R]
  package var mean: Matrix
  /// lv [T,R]; nil for an encoder without variance, which counts as variance 1.
  package var logVariance: Matrix?

  package init(mean: Matrix, logVariance: Matrix? = nil) {
    precondition(logVariance.map { $0.rows == mean.rows && $0.columns == mean.columns } ?? true)
    self.mean = mean
    self.logVariance = logVariance
  }
}

/// Linear(SiLU(LayerNorm(x))) with mean and log-variance halves.
package struct GaussianEncoder: Sendable, Equatable {
  /// torch's default.
  package static let normEpsilon = 1e-5

  /// g [H]
  package var normWeight: [Float]
  /// c [H]
  package var normBias: [Float]
  /// W [2R,H]
  package var weight: Matrix
  /// b [2R]
  package var bias: [Float]

  package init(normWeight: [Float], normBias: [Float], weight: Matrix, bias: [Float]) {
    precondition(normWeight.count == weight.columns && normBias.count == weight.columns)
    precondition(weight.rows > 0 && weight.rows.isMultiple(of: 2) && bias.count == weight.rows)
    self.normWeight = normWeight
    self.normBias = normBias
    self.weight = weight
    self.bias = bias
  }

  /// R
  package var latentSize: Int { weight.rows / 2 }

  /// (x - mean x) / sqrt(var x + 1e-5), [T,H].
  package static func normalise(_ inputs: Matrix, threads: Int) -> Matrix {
    let width = inputs.columns
    return Matrix.filling(rows: inputs.rows, columns: width, threads: threads) { tokens, block in
      let values = inputs.values.span
      for token in tokens {
        let row = values.extracting(token * width..<(token + 1) * width)
        var sum = 0.0
        for column in 0..<row.count { sum += Double(row[column]) }
        let mean = sum / Double(width)
        var squares = 0.0
        for column in 0..<row.count {
          let deviation = Double(row[column]) - mean
          squares += deviation * deviation
        }
        let scale = Float(1 / (squares / Double(width) + normEpsilon).squareRoot())
        let centre = Float(mean)
        for column in 0..<row.count { block.append((row[column] - centre) * scale) }
      }
    }
  }

  /// v [T,H] of normalised inputs [T,H].
  package func features(normalised: Matrix, threads: Int) -> Matrix {
    let width = normalised.columns
    return Matrix.filling(
      rows: normalised.rows, columns: width, threads: threads
    ) { tokens, block in
      let values = normalised.values.span
      let (gain, shift) = (normWeight.span, normBias.span)
      for token in tokens {
        let row = values.extracting(token * width..<(token + 1) * width)
        for column in 0..<row.count {
          block.append(Self.silu(row[column] * gain[column] + shift[column]))
        }
      }
    }
  }

  /// mu [T,R] of `inputs` [T,H].
  package func mean(_ inputs: Matrix, threads: Int) -> Matrix {
    let size = latentSize
    var mean = LinearAlgebra.multiply(
      features(normalised: Self.normalise(inputs, threads: threads), threads: threads),
      transposed: weight.gathering(rows: Array(0..<size)), threads: threads)
    mean.add(toEachRow: Array(bias[..<size]))
    return mean
  }

  /// mu and lv of `inputs` [T,H].
  package func encode(_ inputs: Matrix, threads: Int) -> LatentGaussian {
    latent(
      features: features(
        normalised: Self.normalise(inputs, threads: threads), threads: threads),
      threads: threads)
  }

  /// mu and lv of v [T,H].
  package func latent(features: Matrix, threads: Int) -> LatentGaussian {
    var both = LinearAlgebra.multiply(features, transposed: weight, threads: threads)
    both.add(toEachRow: bias)
    return LatentGaussian(
      mean: both.columns(0..<latentSize), logVariance: both.columns(latentSize..<2 * latentSize))
  }

  @inline(__always)
  private static func silu(_ value: Float) -> Float { value / (1 + expf(-value)) }
}
