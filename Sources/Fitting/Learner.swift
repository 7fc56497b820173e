// SPDX-License-Identifier: Apache-2.0
//
// Adam on the parts of a router. Adam's steps have one size for a whole matrix, so that each matrix
// is moved in coordinates where that makes sense:
//
//   first linear map   columns times the root mean square of their input
//   everything else    as it is
//
// and by steps of rate x the root mean square of the matrix in those coordinates. Vectors that
// start at zero take the typical size of what they are added to.

import Foundation
import Routing
import Tensors

/// A router that learns.
struct Learner {
  private(set) var router: PrototypeRouter
  private var encoder: [Part]
  private var similarity: [Part]
  private var prototypes: Part
  private var bias: Part
  private var scale: Part

  /// One matrix with its optimiser.
  private struct Part {
    var adam: Adam
    let rate: Float
    /// Of columns; nil means 1.
    let units: [Float]?

    /// Steps are `rate` times the root mean square of `values`, at least `floor`.
    init(_ values: Matrix, rate: Float, units: [Float]? = nil, floor: Float = 1e-6) {
      adam = Adam(count: values.values.count)
      self.units = units
      self.rate = rate * max(values.scaled(units) { $0 * $1 }.rootMeanSquare, floor)
    }

    mutating func update(_ values: inout Matrix, _ gradient: Matrix, decay: Float) {
      var scaled = values.scaled(units) { $0 * $1 }
      adam.update(&scaled, gradient: gradient.scaled(units) { $0 / $1 }, rate: rate * decay)
      values = scaled.scaled(units) { $0 / $1 }
    }
  }

  /// `inputs` are some router inputs.
  init(_ router: PrototypeRouter, inputs: Matrix, rate: Float) {
    self.router = router
    let values = router.encoder.parameters
    switch router.encoder {
    case .linear:
      encoder = [Part(values[0], rate: rate, units: Self.columnUnits(inputs))]
    case .gaussian(let gaussian):
      let features = gaussian.features(
        normalised: GaussianEncoder.normalise(inputs, threads: 1), threads: 1)
      let output = gaussian.mean(inputs, threads: 1).rootMeanSquare
      let gain = values[0].rootMeanSquare
      encoder = [
        Part(values[0], rate: rate), Part(values[1], rate: rate, floor: gain),
        Part(values[2], rate: rate, units: Self.columnUnits(features)),
        Part(values[3], rate: rate, floor: output),
      ]
    }
    prototypes = Part(router.functionPrototypes, rate: rate)
    // Logarithms and norms move by the rate itself, projections relative to their matrix.
    similarity = router.similarity.parameters.map { Part($0, rate: rate, floor: 0.3) }
    let logits = router.logits(inputs, threads: 1).rootMeanSquare
    bias = Part(
      Matrix(row: router.functionBias ?? [Float](repeating: 0, count: router.experts)),
      rate: rate, floor: 0.1 * logits)
    scale = Part(Matrix(rows: 1, columns: 1), rate: rate, floor: 1)
  }

  private static func columnUnits(_ inputs: Matrix) -> [Float] {
    inputs.columnMeanSquares(threads: 1).map { Float(max($0.squareRoot(), 1e-6)) }
  }

  mutating func step(_ gradient: RouterGradient, decay: Float) {
    var values = router.encoder.parameters
    for index in values.indices {
      encoder[index].update(&values[index], gradient.encoder[index], decay: decay)
    }
    router.encoder.parameters = values
    values = router.similarity.parameters
    for index in values.indices {
      similarity[index].update(&values[index], gradient.similarity[index], decay: decay)
    }
    router.similarity.parameters = values
    prototypes.update(&router.functionPrototypes, gradient.prototypes, decay: decay)
    var biases = Matrix(
      row: router.functionBias ?? [Float](repeating: 0, count: router.experts))
    bias.update(&biases, gradient.bias, decay: decay)
    router.functionBias = biases.values
    // A dot product and cross-attention have their scale in what they multiply.
    if router.similarity != .dot, router.similarity.kind != .crossAttention {
      var logScale = Matrix(row: [logf(router.similarityScale)])
      scale.update(&logScale, Matrix(row: [gradient.logScale]), decay: decay)
      router.similarityScale = expf(logScale.values[0])
    }
  }
}

extension Matrix {
  fileprivate var rootMeanSquare: Float {
    let sum = values.reduce(0.0) { $0 + Double($1) * Double($1) }
    return values.isEmpty ? 0 : Float((sum / Double(values.count)).squareRoot())
  }

  /// Each value combined with its column's unit.
  fileprivate func scaled(_ units: [Float]?, _ combine: (Float, Float) -> Float) -> Matrix {
    guard let units else { return self }
    var result = self
    for row in 0..<rows {
      for column in 0..<columns {
        result.values[row * columns + column] =
          combine(values[row * columns + column], units[column])
      }
    }
    return result
  }
}
