// SPDX-License-Identifier: Apache-2.0
//
// Gradients of an encoder's parameters for upstream gradients of its outputs:
//
//   linear      dW = dzᵀ x
//   Gaussian    y = [dmu dlv]:  dW = yᵀ v,  db = sum y,  dv = y W,
//               du = dv silu'(u),  dg = sum du û,  dc = sum du      û: LayerNorm before gain, shift
//               silu'(u) = f (1 + u (1 - f)),  f = 1 / (1 + exp(-u))

import Foundation
package import Routing
package import Tensors

extension PrototypeRouter.Encoder {
  /// W; or g, c [1,H], W [2R,H], b [1,2R].
  package var parameters: [Matrix] {
    get {
      switch self {
      case .linear(let weight): [weight]
      case .gaussian(let encoder):
        [
          Matrix(row: encoder.normWeight), Matrix(row: encoder.normBias), encoder.weight,
          Matrix(row: encoder.bias),
        ]
      }
    }
    set {
      precondition(newValue.count == parameters.count)
      switch self {
      case .linear: self = .linear(newValue[0])
      case .gaussian:
        self = .gaussian(
          GaussianEncoder(
            normWeight: newValue[0].values, normBias: newValue[1].values, weight: newValue[2],
            bias: newValue[3].values))
      }
    }
  }

  /// In the order of `parameters`; `logVariance` nil means 0.
  package func gradient(
    inputs: Matrix, mean: Matrix, logVariance: Matrix?, threads: Int
  ) -> [Matrix] {
    switch self {
    case .linear:
      return [LinearAlgebra.multiply(mean.transposed(), inputs, threads: threads)]
    case .gaussian(let encoder):
      return encoder.gradient(
        normalised: GaussianEncoder.normalise(inputs, threads: threads),
        upstream: mean.joined(logVariance ?? Matrix(rows: mean.rows, columns: mean.columns)),
        threads: threads)
    }
  }
}

extension GaussianEncoder {
  fileprivate func gradient(normalised: Matrix, upstream: Matrix, threads: Int) -> [Matrix] {
    let features = features(normalised: normalised, threads: threads)
    var inner = LinearAlgebra.multiply(upstream, weight, threads: threads)
    var gains = inner
    let width = normalised.columns
    for token in 0..<inner.rows {
      for column in 0..<width {
        let index = token * width + column
        let value = normalised.values[index] * normWeight[column] + normBias[column]
        let gate = 1 / (1 + expf(-value))
        inner.values[index] *= gate * (1 + value * (1 - gate))
        gains.values[index] = inner.values[index] * normalised.values[index]
      }
    }
    return [
      gains.columnSums(), inner.columnSums(),
      LinearAlgebra.multiply(upstream.transposed(), features, threads: threads),
      upstream.columnSums(),
    ]
  }
}
