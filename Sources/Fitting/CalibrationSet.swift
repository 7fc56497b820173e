// SPDX-License-Identifier: Apache-2.0
//
// The calibration tokens of one layer as the original router sees them.

package import Routing
package import Tensors

/// Router inputs with the original's logits and choices.
package struct CalibrationSet: Sendable {
  package let inputs: Matrix
  package let logits: Matrix
  package let assignment: Assignment
  package let router: FamilyRouter

  /// Runs of consecutive tokens are held out, since neighbours are alike.
  private static let runTokens = 1024
  private static let heldOutEvery = 8

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

  /// Assignments per original slot.
  package var load: [Int] { assignment.load(experts: router.experts) }

  /// The given tokens only.
  package func gathering(_ tokens: [Int]) -> CalibrationSet { CalibrationSet(self, tokens: tokens) }

  /// Sum of routing weights per original slot.
  package var routingWeights: [Double] {
    var sums = [Double](repeating: 0, count: router.experts)
    for (slot, weight) in zip(assignment.experts, assignment.weights) {
      sums[Int(slot)] += Double(weight)
    }
    return sums
  }

  /// At most `count` tokens, evenly spread.
  package func sample(_ count: Int) -> CalibrationSet {
    tokens > count ? gathering(sampledTokens(count)) : self
  }

  package func sampledTokens(_ count: Int) -> [Int] { evenSample(of: tokens, limit: count) }

  /// Every eighth run of tokens apart from the others; nil below eight runs of useful length.
  package func split() -> (fitted: [Int], heldOut: [Int])? {
    let run = min(Self.runTokens, tokens / (2 * Self.heldOutEvery))
    guard run >= 16 else { return nil }
    var fitted: [Int] = []
    var heldOut: [Int] = []
    for token in 0..<tokens {
      if token / run % Self.heldOutEvery == Self.heldOutEvery - 1 {
        heldOut.append(token)
      } else {
        fitted.append(token)
      }
    }
    return (fitted, heldOut)
  }

  /// Balance and agreement of `patched`, a routing of these tokens.
  package func figures(of patched: Assignment, physicalToLogical: [Int]) -> LayerFit.Figures {
    let load = patched.load(experts: router.experts)
    return LayerFit.Figures(
      load: load, metrics: LoadMetrics(load: load),
      agreement: RoutingAgreement(
        original: assignment, originalMap: Array(0..<router.experts), patched: patched,
        patchedMap: physicalToLogical))
  }

  package var originalFigures: LayerFit.Figures {
    figures(of: assignment, physicalToLogical: Array(0..<router.experts))
  }
}

extension Assignment {
  /// The given tokens, in the given order.
  package func gathering(tokens: [Int]) -> Assignment {
    var experts: [Int32] = []
    var weights: [Float] = []
    for token in tokens {
      experts += self.experts[token * topK..<(token + 1) * topK]
      weights += self.weights[token * topK..<(token + 1) * topK]
    }
    return Assignment(tokens: tokens.count, topK: topK, experts: experts, weights: weights)
  }
}

/// At most `limit` places of `count`, evenly spread, ascending.
public func evenSample(of count: Int, limit: Int) -> [Int] {
  guard count > limit else { return Array(0..<count) }
  return (0..<limit).map { $0 * count / limit }
}
