// SPDX-License-Identifier: Apache-2.0
//
// How near to even a layer's loads are to come, by what that costs the whole model. A layer whose
// output is most of the residual stream (often the first one) is many times as expensive as one
// that adds little to it:
//
//   loss = about r e,   r = E|y|² / E|h + y|²,   e = E|y' - y|² / E|y|²
//
// y: the layer's output, h: the residual stream that it is added to. (With errors of 15 % in one
// layer at a time, on three small models, the divergence from the original's next-token
// distribution was 0.8 to 1.9 times r e, where r runs from 0.02 to 0.97.) So
//
//   minimise  r e(s) + price * Gini(s)²    over the strengths s

import Routing
import Tensors

/// The price of balance in one layer.
struct BalanceCost {
  /// r.
  let outputShare: Double

  /// Nats for a squared Gini of 1. What was the default cost at the margin, strength and
  /// token-dependent biases alike, was 0.9 to 1.7 on three small models.
  private static let price = 1.0
  /// Strengths tried, relative to the one asked for.
  private static let strengths = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7]
  /// The share of the residual stream at which token-dependent biases have their usual size, and
  /// the bounds of what they are multiplied by elsewhere.
  private static let usualShare = 0.1
  private static let reaches = 0.3...3.0
  /// The same for the slack of the stock form's loads.
  private static let slacks = 0.6...2.0

  /// `outputSquare` is E|y|², `residualSquare` E|h|², taken for independent of each other.
  init?(outputSquare: Double, residualSquare: Double) {
    guard outputSquare > 0, residualSquare >= 0, (outputSquare + residualSquare).isFinite else {
      return nil
    }
    outputShare = outputSquare / (outputSquare + residualSquare)
  }

  /// The strength that costs least, of those up to 1; both closures are of a strength.
  func strength(error: (Double) -> Double, gini: (Double) -> Double) -> Double {
    Self.strengths.map { strength in
      let gini = gini(strength)
      return (outputShare * error(strength) + Self.price * gini * gini, strength)
    }.min { $0.0 < $1.0 }?.1 ?? 1
  }

  /// What token-dependent biases are multiplied by: the cost rises with their square, the gain in
  /// proportion.
  var reach: Double { Self.bounded(Self.usualShare / outputShare, Self.reaches) }

  /// What the slack of the stock form's loads is multiplied by.
  var slack: Float { Float(Self.bounded(outputShare / Self.usualShare, Self.slacks)) }

  private static func bounded(_ value: Double, _ bounds: ClosedRange<Double>) -> Double {
    min(max(value, bounds.lowerBound), bounds.upperBound)
  }
}

extension PlanSearch {
  /// What balance costs in this layer; nil where it adds nothing to the residual stream.
  func cost(residualSquare: Double) -> BalanceCost? {
    BalanceCost(outputSquare: deviation.meanSquare, residualSquare: residualSquare)
  }

  /// How much of `asked` is worth its cost with these numbers of copies, [F].
  func strength(copies: [Int], asked: Double, cost: BalanceCost) -> Double {
    let loads = LoadTargets(
      rule: rule, copies: copies,
      natural: Selection(rule: rule, bias: start, selectable: copies.map { $0 > 0 })
        .load(scores, threads: threads))
    return asked
      * cost.strength(
        error: { strength in
          let solved = balanced(copies, to: loads.targets(strength: asked * strength), from: start)
          return 2 * solved.error / Double(scores.rows)
        },
        gini: { loads.gini(strength: asked * $0) })
  }
}
