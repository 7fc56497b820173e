// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import TestSupport
import Testing

struct ClonePlanTests {
  @Test func `physical experts follow values by highest averages`() {
    let rule = RoutingRule(experts: 4, topK: 1, scoring: .softmax, normalise: true)
    // Quotients: 8/.5, 8/1.5, 8/2.5 beat 3/.5? 16, 6, 5.33, 3.2: they go 0, 1, 0, 0.
    let plan = ClonePlan(rule: rule, values: [8, 3, 0.5, 0.25], loads: [8, 3, 0.5, 0.25])
    #expect(plan.physicalPerLogical == [3, 1, 0, 0])
    #expect(plan.moves == [.init(physical: 3, logical: 0), .init(physical: 2, logical: 0)])
    #expect(plan.physicalToLogical(moves: 0) == [0, 1, 2, 3])
    #expect(plan.physicalToLogical(moves: 1) == [0, 1, 2, 0])
    #expect(plan.physicalToLogical(moves: 2) == [0, 1, 0, 0])
  }

  @Test func `an expert that other traffic needs is not pruned`() {
    let rule = RoutingRule(experts: 4, topK: 1, scoring: .softmax, normalise: true)
    let plan = ClonePlan(
      rule: rule, values: [8, 3, 0.5, 0.25], loads: [8, 3, 0.5, 0.25], keeping: [3])
    #expect(plan.physicalPerLogical == [2, 1, 0, 1])
    #expect(plan.moves == [.init(physical: 2, logical: 0)])
    let all = ClonePlan(
      rule: rule, values: [8, 3, 0, 0], loads: [8, 3, 0, 0], keeping: [0, 1, 2, 3])
    #expect(all.moves.isEmpty)
  }

  @Test func `even values change nothing`() {
    let rule = RoutingRule(experts: 8, topK: 2, scoring: .softmax, normalise: true)
    let even = [Double](repeating: 3, count: 8)
    #expect(ClonePlan(rule: rule, values: even, loads: even).moves.isEmpty)
  }

  /// E, K, groups, groups kept.
  static let shapes = [
    (8, 2, 1, 1), (8, 3, 1, 1), (32, 4, 4, 2), (16, 3, 4, 2), (60, 4, 1, 1), (24, 6, 8, 3),
    (15, 5, 3, 1), (16, 8, 2, 1), (4, 4, 1, 1), (6, 1, 3, 1),
  ]

  @Test(arguments: shapes) func `every plan keeps the constraints`(
    experts: Int, topK: Int, groups: Int, kept: Int
  ) {
    var generator = SeededGenerator(seed: 1)
    for score in [RoutingRule.Groups.Score.max, .topTwoSum] {
      let rule = RoutingRule(
        experts: experts, topK: topK, scoring: .softmax, normalise: true,
        groups: groups > 1
          ? .init(count: groups, kept: kept, score: score, mask: .negativeInfinity) : nil)
      for trial in 0..<40 {
        // From even to extremely skewed, with dead experts.
        let values = (0..<experts).map { _ in
          let value = Double.random(in: 0...1, using: &generator)
          return trial % 3 == 0 && value < 0.5 ? 0 : (0..<trial).reduce(1) { p, _ in p * value }
        }
        let plan = ClonePlan(rule: rule, values: values, loads: values)
        let copies = plan.physicalPerLogical
        #expect(copies.reduce(0, +) == experts)
        #expect(copies.allSatisfy { $0 <= experts / topK })
        for count in 0...plan.moves.count {
          let map = plan.physicalToLogical(moves: count)
          let size = experts / groups
          #expect(map.enumerated().allSatisfy { $0 / size == $1 / size }, "clones stay in groups")
          var selectable = [Bool](repeating: false, count: experts)
          for logical in map { selectable[logical] = true }
          #expect(Selection.alwaysOffers(topK, of: selectable, rule: rule))
          #expect(map.indices.allSatisfy { !selectable[$0] || map[$0] == $0 }, "own place kept")
          #expect(ClonePlan.feasibleGini(physicalToLogical: map, topK: topK) < 1e-12)
        }
        let final = plan.physicalToLogical(moves: plan.moves.count)
        #expect(copies.indices.allSatisfy { f in final.count { $0 == f } == copies[f] })
      }
    }
  }

  @Test func `too many copies of one expert lie idle`() {
    // One logical expert on three of four physical ones carries T of 2T assignments: 1/3 each, the
    // other takes at most T: Gini of (1/3, 1/3, 1/3, 1).
    let gini = ClonePlan.feasibleGini(physicalToLogical: [0, 0, 0, 3], topK: 2)
    #expect(abs(gini - 0.25) < 1e-12)
  }
}
