// SPDX-License-Identifier: Apache-2.0
//
// A latent space in which the gate's logits are dot products, y [T,r] and prototypes q [F,r], and
// the encoders that make affine images of it:
//
//   z = [alpha (y - centred y_mean), constant]
//
// linear     y = U_rᵀ W x, the activation-weighted SVD (LatentBasis). It has no bias: what is to be
//            constant is the best linear guess at 1, w . x.
// Gaussian   y by ridge regression on v = SiLU(gain LayerNorm(x)). A small gain makes SiLU linear;
//            the gain with the least residual is kept. The log-variance half is constant: the
//            residual variance of each dimension, plus `noise`.

import ByteStorage
import Foundation
import Routing
import Tensors

/// A latent space before it is shaped for a similarity.
struct LatentFrame {
  private enum Map {
    case linear(weight: Matrix, one: [Float])
    case gaussian(gain: Float, weight: Matrix, bias: [Float], residual: [Double])
  }

  private let map: Map
  /// Of y over the tokens, [r].
  let mean: [Double]
  /// E |y - mean|² of each dimension, [r].
  let variance: [Double]
  /// q [F,r]
  let prototypes: Matrix

  private static let gains: [Float] = [1, 0.3, 0.1]
  private static let smallestVariance = 1e-6

  var size: Int { prototypes.columns }

  /// All dimensions, r = E.
  init(
    _ set: CalibrationSet, basis: LatentBasis, encoder: EncoderKind, threads: Int
  ) throws(RegateError) {
    let size = basis.fullSize
    let weight = basis.encoder(size: size)
    let target = LinearAlgebra.multiply(set.inputs, transposed: weight, threads: threads)
    let mean = target.columnMeans(threads: threads)
    let squares = target.columnMeanSquares(threads: threads)
    self.mean = mean
    variance = zip(squares, mean).map { max(0, $0 - $1 * $1) }
    prototypes = basis.prototypes(size: size)
    switch encoder {
    case .linear:
      let one = try RidgeRegression(
        inputs: set.inputs, targets: Matrix(rows: set.tokens, columns: 1, repeating: 1),
        intercept: false, threads: threads)
      map = .linear(weight: weight, one: one.weight.values)
    case .gaussian:
      map = try Self.gaussian(set.inputs, target, threads: threads)
    }
  }

  private init(_ frame: LatentFrame, size: Int) {
    map = frame.map
    mean = Array(frame.mean[..<size])
    variance = Array(frame.variance[..<size])
    prototypes = frame.prototypes.columns(0..<size)
  }

  /// The first `size` dimensions, which are the best so many.
  func prefix(_ size: Int) -> LatentFrame { LatentFrame(self, size: size) }

  private static func gaussian(
    _ inputs: Matrix, _ target: Matrix, threads: Int
  ) throws(RegateError) -> Map {
    let normalised = GaussianEncoder.normalise(inputs, threads: threads)
    var best: (error: Double, map: Map)?
    for gain in gains {
      let encoder = encoder(
        gain: gain, weight: Matrix(rows: 2, columns: inputs.columns), bias: [0, 0])
      let fit = try RidgeRegression(
        inputs: encoder.features(normalised: normalised, threads: threads), targets: target,
        threads: threads)
      let error = fit.residual.reduce(0, +)
      if error < best?.error ?? .infinity {
        best = (
          error,
          .gaussian(gain: gain, weight: fit.weight, bias: fit.bias, residual: fit.residual)
        )
      }
    }
    guard let best else {
      throw RegateError(
        .unreached, subject: "latent encoder", "the regression left no finite residual",
        advice: "check the activations for very large values")
    }
    return best.map
  }

  private static func encoder(gain: Float, weight: Matrix, bias: [Float]) -> GaussianEncoder {
    GaussianEncoder(
      normWeight: [Float](repeating: gain, count: weight.columns),
      normBias: [Float](repeating: 0, count: weight.columns), weight: weight, bias: bias)
  }

  /// The encoder to the first `size` dimensions, and to one more that is `constant`.
  func encoder(
    size: Int, scale: Float, centred: Bool = false, constant: Float? = nil, noise: Double = 0
  ) -> PrototypeRouter.Encoder {
    let rows = size + (constant == nil ? 0 : 1)
    switch map {
    case .linear(let weight, let one):
      var result = Matrix(rows: rows, columns: weight.columns)
      for column in 0..<weight.columns {
        for row in 0..<size {
          let shift = centred ? Float(mean[row]) * one[column] : 0
          result[row, column] = scale * (weight[row, column] - shift)
        }
        if let constant { result[size, column] = constant * one[column] }
      }
      return .linear(result)
    case .gaussian(let gain, let weight, let bias, let residual):
      var result = Matrix(rows: 2 * rows, columns: weight.columns)
      var shifts = [Float](repeating: 0, count: 2 * rows)
      for row in 0..<size {
        for column in 0..<weight.columns { result[row, column] = scale * weight[row, column] }
        shifts[row] = scale * (bias[row] - (centred ? Float(mean[row]) : 0))
        let variance = Double(scale) * Double(scale) * residual[row] + noise
        shifts[rows + row] = Float(log(max(variance, Self.smallestVariance)))
      }
      if let constant {
        shifts[size] = constant
        shifts[rows + size] = Float(log(Self.smallestVariance))
      }
      return .gaussian(Self.encoder(gain: gain, weight: result, bias: shifts))
    }
  }

  /// Log-variances of the tokens that `encoder` makes, constant at first; 0 without variance.
  static func logVariances(_ encoder: PrototypeRouter.Encoder, size: Int) -> [Float] {
    guard case .gaussian(let gaussian) = encoder else { return [Float](repeating: 0, count: size) }
    return Array(gaussian.bias[size...])
  }
}
