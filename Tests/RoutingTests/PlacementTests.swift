// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routing
import TestSupport
import Testing

struct PlacementTests {
  private func imbalance(_ load: [Int], _ placement: [Int], ranks: Int) -> Double {
    LoadMetrics.rankImbalance(load: placement.map { load[$0] }, ranks: ranks) ?? 0
  }

  @Test func `equal sums are found where greedy packing alone misses them`() {
    // Heaviest first gives 8 + 5 + 4 = 17 and 7 + 6 + 3 = 16; one exchange cannot split an odd sum.
    let load = [8, 7, 6, 5, 4, 3]
    #expect(imbalance(load, Placement.balanced(load: load, groups: 1, ranks: 2), ranks: 2) < 1.04)
    let even = [8, 7, 6, 5, 4, 4]
    #expect(imbalance(even, Placement.balanced(load: even, groups: 1, ranks: 2), ranks: 2) == 1)
  }

  @Test func `it is a permutation that is never worse`() {
    var random = SeededGenerator(seed: 3)
    for (experts, groups, ranks) in [
      (8, 1, 2), (16, 1, 5), (16, 4, 2), (16, 4, 8), (32, 8, 4), (12, 3, 2), (160, 8, 8),
    ] {
      for _ in 0..<8 {
        let load = (0..<experts).map { _ in Int.random(in: 0...1000, using: &random) }
        let placement = Placement.balanced(load: load, groups: groups, ranks: ranks)
        #expect(placement.sorted() == Array(0..<experts))
        let before = imbalance(load, Array(0..<experts), ranks: ranks)
        #expect(imbalance(load, placement, ranks: ranks) <= before)
        // A group stays a group of consecutive experts.
        let size = experts / groups
        for group in 0..<groups {
          let members = placement[group * size..<(group + 1) * size].map { $0 / size }
          #expect(Set(members).count == 1)
        }
      }
    }
  }

  @Test func `a skewed load becomes nearly even`() {
    let load = (0..<128).map { 100_000 / ($0 + 1) }
    // One expert alone is more than an eighth: nothing is better than it with the lightest others.
    let share = Double(load[0] + load.suffix(15).reduce(0, +)) / (Double(load.reduce(0, +)) / 8)
    let found = imbalance(load, Placement.balanced(load: load, groups: 1, ranks: 8), ranks: 8)
    #expect(found <= share * 1.001)
    #expect(imbalance(load, Array(0..<128), ranks: 8) > 3)
  }

  @Test func `several rank counts are balanced together`() {
    var random = SeededGenerator(seed: 4)
    for _ in 0..<10 {
      let load = (0..<32).map { _ in Int(pow(10, Double.random(in: 0...3, using: &random))) }
      func sum(_ placement: [Int]) -> Double {
        [2, 4, 8].reduce(0) { $0 + imbalance(load, placement, ranks: $1) }
      }
      let together = Placement.balanced(load: load, groups: 1, ranks: [2, 4, 8])
      #expect(together.sorted() == Array(0..<32))
      for ranks in [2, 4, 8] {
        #expect(
          sum(together) <= sum(Placement.balanced(load: load, groups: 1, ranks: ranks)) + 1e-9)
      }
    }
    // As many ranks as experts leave nothing to choose, but fewer do.
    let load = [9, 8, 1, 1]
    let placement = Placement.balanced(load: load, groups: 1, ranks: [2, 4])
    #expect(imbalance(load, placement, ranks: 2) < 1.06)
  }

  @Test func `no load changes nothing`() {
    let load = [Int](repeating: 0, count: 8)
    #expect(Placement.balanced(load: load, groups: 1, ranks: 4) == Array(0..<8))
  }
}
