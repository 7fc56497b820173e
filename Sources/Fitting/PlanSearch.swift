// SPDX-License-Identifier: Apache-2.0
//
// Which clone plan costs least. Plans for several exponents of (load x saliency) are balanced on a
// sample with the real selection, and the one with the smallest estimated output error is kept:
//
//   error² = sum_t sum_f g_f² (w'_tf - w_tf)²,   g_f = saliency_f / sum_t w_tf
//
// Exponent 0 is the plan without clones. g is the mean output norm of function f; the estimate
// takes different functions' outputs as orthogonal, so it ranks plans but is no output error.

import Foundation
import Routing
package import Tensors

/// The choice of a clone plan.
package struct PlanSearch: Sendable {
  package let set: CalibrationSet
  /// pi [T,F] of the native router on the set's tokens.
  package let scores: Matrix
  /// Sum over tokens of weight x expert output norm, [E].
  package let saliency: [Double]?
  /// Other traffic whose functions must stay.
  package let demands: [SlotDemand]
  package let threads: Int

  package init(
    set: CalibrationSet, scores: Matrix, saliency: [Double]?, demands: [SlotDemand] = [],
    threads: Int
  ) {
    self.set = set
    self.scores = scores
    self.saliency = saliency
    self.demands = demands
    self.threads = threads
  }

  private static let exponents = [0, 0.15, 0.225, 0.3, 0.375, 0.45]

  /// The best plan for the loads of the whole calibration set.
  package func plan(loads: [Double]) -> ClonePlan {
    var best: (error: Double, plan: ClonePlan)?
    for exponent in Self.exponents {
      let plan = ClonePlan(
        rule: set.router.rule,
        values: Self.values(loads, saliency, exponent), loads: loads, keeping: needed(exponent))
      let error = estimatedError(plan)
      if error < best?.error ?? .infinity { best = (error, plan) }
    }
    return best?.plan
      ?? ClonePlan(rule: set.router.rule, values: loads, loads: loads, keeping: needed(1))
  }

  private static func values(
    _ loads: [Double], _ saliency: [Double]?, _ exponent: Double
  ) -> [Double] {
    zip(loads, saliency ?? loads).map { pow($0 * $1, exponent) }
  }

  /// The functions that any demand's own plan with this exponent keeps.
  private func needed(_ exponent: Double) -> Set<Int> {
    demands.reduce(into: []) { needed, demand in
      let loads = demand.load.map(Double.init)
      let plan = ClonePlan(
        rule: set.router.rule, values: Self.values(loads, demand.saliency, exponent), loads: loads)
      needed.formUnion(plan.slotsPerFunction.indices.filter { plan.slotsPerFunction[$0] > 0 })
    }
  }

  /// error² above, at full balance.
  package func estimatedError(_ plan: ClonePlan) -> Double {
    let experts = set.router.experts
    let slots = plan.slotsPerFunction
    let selectable = slots.map { $0 > 0 }
    let potentials = FunctionPotentials(
      rule: set.router.rule, selectable: selectable, threads: threads
    ).solve(
      scores: scores, targets: slots.map { Double($0) / Double(experts) },
      from: set.router.selectionBias ?? [Float](repeating: 0, count: experts))
    let patched = Selection(rule: set.router.rule, bias: potentials, selectable: selectable)
      .assign(scores, threads: threads) { _, function in function }
    return squaredDistance(patched)
  }

  private func squaredDistance(_ patched: Assignment) -> Double {
    let experts = set.router.experts
    let norms = set.outputNorms(saliency: saliency)
    let topK = patched.topK
    var difference = [Double](repeating: 0, count: experts)
    var sum = 0.0
    for token in 0..<patched.tokens {
      for entry in token * topK..<(token + 1) * topK {
        difference[Int(patched.slots[entry])] += Double(patched.weights[entry])
        difference[Int(set.assignment.slots[entry])] -= Double(set.assignment.weights[entry])
      }
      for entry in token * topK..<(token + 1) * topK {
        for function in [Int(patched.slots[entry]), Int(set.assignment.slots[entry])] {
          let change = difference[function] * norms[function]
          sum += change * change
          difference[function] = 0
        }
      }
    }
    return sum
  }
}

extension CalibrationSet {
  /// g [E], relative to the mean output norm; 1 without `saliency`, and for a function that these
  /// tokens never use. `saliency` may come from a larger set: only its proportions count.
  package func outputNorms(saliency: [Double]?) -> [Double] {
    let experts = router.experts
    guard let saliency else { return [Double](repeating: 1, count: experts) }
    var weights = [Double](repeating: 0, count: experts)
    for (slot, weight) in zip(assignment.slots, assignment.weights) {
      weights[Int(slot)] += Double(weight)
    }
    let scale = saliency.reduce(0, +) / max(weights.reduce(0, +), 1e-30)
    guard scale > 0 else { return [Double](repeating: 1, count: experts) }
    return zip(saliency, weights).map { $1 > 0 ? $0 / $1 / scale : 1 }
  }
}
