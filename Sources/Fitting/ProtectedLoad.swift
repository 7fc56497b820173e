// SPDX-License-Identifier: Apache-2.0

import Foundation
package import Routing

/// What traffic that is not fitted to asks of a layer's experts: a plan prunes none that the plan
/// for this traffic alone would keep.
package struct ProtectedLoad: Sendable, Hashable {
  /// Assignments per expert [E] under the original router.
  package let load: [Int]
  /// Sum over tokens of weight x expert output norm [E]; nil where it is not known.
  package let saliency: [Double]?

  package init(load: [Int], saliency: [Double]?) {
    precondition((saliency?.count ?? load.count) == load.count)
    self.load = load
    self.saliency = saliency
  }

  /// What `assignment` under the original router asks for; `norms` [E] are mean output norms.
  package init(_ assignment: Assignment, experts: Int, norms: [Double]?) {
    var weights = [Double](repeating: 0, count: experts)
    for (expert, weight) in zip(assignment.experts, assignment.weights) {
      weights[Int(expert)] += Double(weight)
    }
    self.init(
      load: assignment.load(experts: experts),
      saliency: norms.map { zip(weights, $0).map { $0 * $1 } })
  }
}

extension ProtectedLoad {
  /// The logical experts that the own plan of any of `loads`, with this exponent, keeps.
  static func needed(
    _ loads: [ProtectedLoad], rule: RoutingRule, exponent: Double
  ) -> Set<Int> {
    loads.reduce(into: []) { needed, other in
      let load = other.load.map(Double.init)
      let values = zip(load, other.saliency ?? load).map { pow($0 * $1, exponent) }
      let copies = ClonePlan(rule: rule, values: values, loads: load).physicalPerLogical
      needed.formUnion(copies.indices.filter { copies[$0] > 0 })
    }
  }
}
