// SPDX-License-Identifier: Apache-2.0
//
// The calibration tokens of one layer as the original router sees them.

package import Routing
package import Tensors

/// Router inputs with the original's logits and choices.
package struct CalibrationSet: Sendable {
  /// x [T,H].
  package let inputs: Matrix
  /// l [T,E].
  package let logits: Matrix
  package let assignment: Assignment
  package let router: FamilyRouter

  package init(inputs: Matrix, router: FamilyRouter, threads: Int) {
    precondition(inputs.columns == router.gate.columns && inputs.rows > 0)
    self.inputs = inputs
    self.router = router
    logits = router.logits(inputs, threads: threads)
    assignment = router.route(logits: logits, threads: threads)
  }

  private init(_ set: CalibrationSet, tokens: [Int]) {
    inputs = set.inputs.gathering(rows: tokens)
    logits = set.logits.gathering(rows: tokens)
    assignment = set.assignment.gathering(tokens: tokens)
    router = set.router
  }

  package var tokens: Int { inputs.rows }

  /// Assignments per original expert, [E].
  package var load: [Int] { assignment.load(experts: router.experts) }

  /// Whether the load has no balance to gain. Loads are counts, which chance alone makes uneven by
  /// the sampling floor g: a count of G is then an imbalance of about sqrt(G² - g²), and a fit,
  /// which takes chance for imbalance too, leaves about g of its own. It gains where G > g sqrt(2).
  var isAsEvenAsChance: Bool {
    let metrics = LoadMetrics(load: load)
    return (metrics.gini ?? 0) <= (metrics.samplingFloor ?? 0) * 2.0.squareRoot()
  }

  /// The given tokens only.
  package func gathering(_ tokens: [Int]) -> CalibrationSet { CalibrationSet(self, tokens: tokens) }

  /// Sum of routing weights per original expert, [E].
  package var routingWeights: [Double] {
    var sums = [Double](repeating: 0, count: router.experts)
    for (expert, weight) in zip(assignment.experts, assignment.weights) {
      sums[Int(expert)] += Double(weight)
    }
    return sums
  }

  /// At most `count` tokens, evenly spread.
  package func sample(_ count: Int) -> CalibrationSet {
    tokens > count ? gathering(sampledTokens(count)) : self
  }

  package func sampledTokens(_ count: Int) -> [Int] { evenSample(of: tokens, limit: count) }
}

/// At most `limit` places of `count`, evenly spread, ascending.
package func evenSample(of count: Int, limit: Int) -> [Int] {
  guard count > limit else { return Array(0..<count) }
  return (0..<limit).map { $0 * count / limit }
}
