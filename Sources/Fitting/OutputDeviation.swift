// SPDX-License-Identifier: Apache-2.0
//
// How far a routing's outputs are from the original's on sampled tokens, from the experts' sketched
// outputs:
//
//   error = sum_t |y'_t - y_t|² / (|y_t|² + mean |y|²)
//
// which keeps the few tokens with huge outputs from deciding alone.

import Routing
import Tensors

/// The error of routings of a sketch's tokens.
struct OutputDeviation: Sendable {
  private let rule: RoutingRule
  private let scores: Matrix
  private let sketch: OutputSketch
  private let threads: Int
  /// y [S,D], and the weight of each token's error.
  private let wanted: Matrix
  private let tokenWeights: [Double]
  /// E|y|².
  let meanSquare: Double

  /// `scores` [S,F] are those of the sketch's tokens, which `original` routes.
  init(
    rule: RoutingRule, scores: Matrix, original: Assignment, sketch: OutputSketch, threads: Int
  ) {
    precondition(scores.rows == sketch.tokens.count && original.tokens == scores.rows)
    self.rule = rule
    self.scores = scores
    self.sketch = sketch
    self.threads = threads
    let wanted = sketch.mixtures(original, threads: threads)
    self.wanted = wanted
    let squares = (0..<wanted.rows).map { token in
      wanted.row(token).reduce(0.0) { $0 + Double($1) * Double($1) }
    }
    let mean = squares.reduce(0, +) / Double(max(1, squares.count))
    meanSquare = mean
    tokenWeights = squares.map { 1 / max($0 + mean, 1e-30) }
  }

  /// The error of the choice by `bias` [F] among `selectable` experts [F].
  func error(bias: [Float], selectable: [Bool]) -> Double {
    error(
      of: Selection(rule: rule, bias: bias, selectable: selectable)
        .assign(scores, threads: threads) { _, logical in logical })
  }

  /// The error of a routing of the sketch's tokens to logical experts.
  func error(of patched: Assignment) -> Double {
    let outputs = sketch.mixtures(patched, threads: threads)
    var error = 0.0
    for token in tokenWeights.indices {
      var square = 0.0
      for index in token * outputs.columns..<(token + 1) * outputs.columns {
        let change = Double(outputs.values[index] - wanted.values[index])
        square += change * change
      }
      error += square * tokenWeights[token]
    }
    return error
  }
}
