// SPDX-License-Identifier: Apache-2.0
//
// Adam on the parts of a router. Adam's steps have one size for a whole matrix, which must mean the
// same for every matrix of every form:
//
//   1. The first linear map moves in columns times the root mean square of what feeds them.
//   2. A part's step is such that one step of it alone, against the sign of its gradient, changes
//      the logits by `rate` times their spread over experts: measured, not assumed.

import Foundation
import Routing
import Tensors

/// A router that learns.
struct Learner {
  var router: PrototypeRouter
  private var parts: [(learned: Learned, part: Part)]

  /// One matrix with its optimiser.
  private struct Part {
    var adam: Adam
    var rate: Float
    /// Of columns; nil means 1.
    let units: [Float]?

    mutating func update(_ values: inout Matrix, _ gradient: Matrix, decay: Float) {
      var scaled = values.scaled(units) { $0 * $1 }
      adam.update(&scaled, gradient: gradient.scaled(units) { $0 / $1 }, rate: rate * decay)
      values = scaled.scaled(units) { $0 / $1 }
    }

    /// `values` after one step of size `step` against the sign of `gradient`.
    func probe(_ values: Matrix, _ gradient: Matrix, step: Float) -> Matrix {
      var scaled = values.scaled(units) { $0 * $1 }
      for index in scaled.values.indices {
        let derivative = gradient.values[index]
        scaled.values[index] -= derivative > 0 ? step : derivative < 0 ? -step : 0
      }
      return scaled.scaled(units) { $0 / $1 }
    }
  }

  /// A probing step relative to the root mean square of what moves.
  private static let probe: Float = 1e-3
  /// What counts as the root mean square of a part that is zero.
  private static let smallest: Float = 1e-2

  /// `gradient` is that of `objective` at `router` on some `inputs`.
  init(_ router: PrototypeRouter, inputs: Matrix, gradient: RouterGradient, rate: Float) {
    self.router = router
    let logits = router.logits(inputs, threads: 1)
    let shiftFree = router.rule.isShiftInvariant
    let spread = max(logits.spread(around: nil, shiftFree: true), 1e-6)
    parts = Learned.all(in: router).map { learned in
      let values = router[learned]
      let units = Self.units(of: learned, router, inputs)
      var part = Part(adam: Adam(count: values.values.count), rate: 0, units: units)
      let size = max(values.scaled(units) { $0 * $1 }.rootMeanSquare, Self.smallest)
      var moved = router
      moved[learned] = part.probe(values, gradient[learned], step: Self.probe * size)
      let change = moved.logits(inputs, threads: 1).spread(around: logits, shiftFree: shiftFree)
      // A part that does not reach the logits moves by its own size only.
      part.rate = change > 0 ? min(rate * spread / change * Self.probe, 10 * rate) * size : 0
      return (learned, part)
    }
  }

  /// The root mean square of the columns that feed the first linear map.
  private static func units(
    of learned: Learned, _ router: PrototypeRouter, _ inputs: Matrix
  ) -> [Float]? {
    let features: Matrix
    switch (router.encoder, learned) {
    case (.linear, .encoder(0)): features = inputs
    case (.gaussian(let gaussian), .encoder(2)):
      features = gaussian.features(
        normalised: GaussianEncoder.normalise(inputs, threads: 1), threads: 1)
    default: return nil
    }
    return features.columnMeanSquares(threads: 1).map { Float(max($0.squareRoot(), 1e-6)) }
  }

  mutating func step(_ gradient: RouterGradient, decay: Float) {
    for index in parts.indices {
      let learned = parts[index].learned
      var values = router[learned]
      parts[index].part.update(&values, gradient[learned], decay: decay)
      router[learned] = values
    }
  }
}

extension Matrix {
  /// The root mean square difference from `other` (nil: from 0), each row's own shift apart.
  fileprivate func spread(around other: Matrix?, shiftFree: Bool) -> Float {
    var sum = 0.0
    for row in 0..<rows {
      var own = 0.0
      var squares = 0.0
      for index in row * columns..<(row + 1) * columns {
        let value = Double(values[index]) - Double(other?.values[index] ?? 0)
        own += value
        squares += value * value
      }
      sum += squares - (shiftFree ? own * own / Double(columns) : 0)
    }
    return values.isEmpty ? 0 : Float((max(0, sum) / Double(values.count)).squareRoot())
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
