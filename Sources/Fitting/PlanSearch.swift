// SPDX-License-Identifier: Apache-2.0
//
// Which clone plan costs least. A plan is balanced on sampled tokens with the real selection, and
// its error is that of the layer's output there (OutputDeviation.swift). The search starts from the
// best apportionment by values (load x saliency)^exponent (exponent 0: no clones), then exchanges
// single physical experts. The selection biases of a balanced routing, its prices, say where one is
// worth most: a high b_f means that tokens are pushed to logical expert f, a low one that they are
// kept from it. So the exchanges with the largest price difference come first, and those that
// failed before come last.

import Foundation
package import Routing
package import Tensors

/// The choice of a clone plan.
package struct PlanSearch: Sendable {
  let rule: RoutingRule
  /// pi [S,F] of the prototype router on the sampled tokens.
  let scores: Matrix
  private let sketch: OutputSketch
  let start: [Float]
  private let protected: [ProtectedLoad]
  let threads: Int
  let deviation: OutputDeviation

  private static let exponents = [0, 0.15, 0.225, 0.3, 0.375, 0.45]
  /// Exchanges tried at most, and in a row without success, per expert.
  private static let exchanges = 384
  private static let patience = 3
  /// Passes of the solver after an exchange.
  private static let passes = 25
  /// An exchange must lower the error by this share: clones cost bytes.
  private static let smallestGain = 0.003

  /// A balanced plan and its error.
  struct Point {
    /// n [F]
    var physicalPerLogical: [Int]
    /// b [F]
    var selectionBias: [Float]
    var error: Double
  }

  /// `original` routes the sketch's tokens; `start` [F] is the selection bias to begin with.
  /// Logical experts that other traffic needs, `protected`, are not pruned.
  package init(
    rule: RoutingRule, scores: Matrix, original: Assignment, sketch: OutputSketch, start: [Float],
    protected: [ProtectedLoad] = [], threads: Int
  ) {
    precondition(scores.rows == sketch.tokens.count && original.tokens == scores.rows)
    self.rule = rule
    self.scores = scores
    self.sketch = sketch
    self.start = start
    self.protected = protected
    self.threads = threads
    deviation = OutputDeviation(
      rule: rule, scores: scores, original: original, sketch: sketch, threads: threads)
  }

  /// The best plan found. `loads` [F] and `weights` [F], the sums of routing weights, are those of
  /// the whole calibration set.
  package func plan(loads: [Double], weights: [Double]) -> ClonePlan {
    let values = zip(loads, zip(weights, sketch.norms)).map { $0 * $1.0 * $1.1 }
    var best: (point: Point, needed: Set<Int>)?
    var seen: Set<[Int]> = []
    for exponent in Self.exponents {
      let needed = ProtectedLoad.needed(protected, rule: rule, exponent: exponent)
      let plan = ClonePlan(
        rule: rule, values: values.map { pow($0, exponent) }, loads: loads, keeping: needed)
      guard seen.insert(plan.physicalPerLogical).inserted else { continue }
      let point = balanced(plan.physicalPerLogical, from: start)
      if point.error < best?.point.error ?? .infinity { best = (point, needed) }
    }
    let copies =
      best.map { exchanging($0.point, keeping: $0.needed).physicalPerLogical }
      ?? [Int](repeating: 1, count: rule.experts)
    return ClonePlan(rule: rule, physicalPerLogical: copies, values: values, loads: loads)
  }

  /// The error of a plan at full balance.
  package func error(of plan: ClonePlan) -> Double {
    balanced(plan.physicalPerLogical, from: start).error
  }

  private func exchanging(_ first: Point, keeping: Set<Int>) -> Point {
    var point = first
    var tries: [Int: Int] = [:]
    var failures = 0
    var budget = Self.exchanges
    while budget > 0, failures < Self.patience * rule.experts {
      guard let (giver, taker) = nextExchange(point, tries: tries, keeping: keeping) else { break }
      tries[giver * rule.experts + taker, default: 0] += 1
      budget -= 1
      var copies = point.physicalPerLogical
      copies[giver] -= 1
      copies[taker] += 1
      let next = balanced(copies, from: point.selectionBias, passes: Self.passes)
      if next.error < point.error * (1 - Self.smallestGain) {
        point = next
        failures = 0
      } else {
        failures += 1
      }
    }
    return point
  }

  /// The legal exchange that was tried least, and among those the one of the largest price
  /// difference; nil when every one was tried twice.
  private func nextExchange(
    _ point: Point, tries: [Int: Int], keeping: Set<Int>
  ) -> (giver: Int, taker: Int)? {
    let copies = point.physicalPerLogical
    let kept = copies.indices.filter { copies[$0] > 0 }
    let mean = kept.reduce(0) { $0 + point.selectionBias[$1] } / Float(max(1, kept.count))
    let prices = copies.indices.map { copies[$0] > 0 ? point.selectionBias[$0] : mean }
    var best: (tries: Int, gain: Float, giver: Int, taker: Int)?
    for group in rule.groupRanges {
      let keptInGroup = group.count { copies[$0] > 0 }
      for giver in group where copies[giver] > (keeping.contains(giver) ? 1 : 0) {
        // To prune one must leave enough logical experts, unless the taker is a new one.
        let isLast = copies[giver] == 1 && keptInGroup <= rule.leastPerGroup
        for taker in group where taker != giver && copies[taker] < rule.clonesLimit {
          if isLast && copies[taker] > 0 { continue }
          let tried = tries[giver * rule.experts + taker] ?? 0
          let gain = prices[giver] - prices[taker]
          if tried < 2, best.map({ (tried, -gain) < ($0.tries, -$0.gain) }) ?? true {
            best = (tried, gain, giver, taker)
          }
        }
      }
    }
    return best.map { ($0.giver, $0.taker) }
  }

  /// Even loads, or the given `targets` [F].
  func balanced(
    _ copies: [Int], to targets: [Double]? = nil, from start: [Float], passes: Int? = nil
  ) -> Point {
    let selectable = copies.map { $0 > 0 }
    let solver = SelectionBiasSolver(rule: rule, selectable: selectable, threads: threads)
    let bias = solver.solve(
      scores: scores, targets: targets ?? copies.map { Double($0) / Double(rule.experts) },
      from: start, passes: passes)
    return Point(
      physicalPerLogical: copies, selectionBias: bias,
      error: deviation.error(bias: bias, selectable: selectable))
  }
}
