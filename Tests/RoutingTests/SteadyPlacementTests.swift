// SPDX-License-Identifier: Apache-2.0

import Routing
import TestSupport
import Testing

struct SteadyPlacementTests {
  @Test func `experts that one kind of text uses together come to different ranks`() {
    // All are loaded alike in all; 0 with 1 and 2 with 3 are busy together.
    let runs = (0..<16).map { $0 < 8 ? [9, 9, 1, 1] : [1, 1, 9, 9] }
    let placement = SteadyPlacement(runs: runs, groups: 1, ranks: [2])
    let order = placement.improved([0, 1, 2, 3])
    #expect(Set(order[..<2]) != [0, 1] && Set(order[..<2]) != [2, 3])
    #expect(placement.imbalance([0, 1, 2, 3]) > 1.05)
    #expect(abs(placement.imbalance(order) - 1) < 1e-12)
  }

  @Test func `runs of both halves are looked at, some with and some without each other`() {
    // Even in the first half; in the second, two kinds that are even together only.
    let runs = (0..<16).map { run in
      run < 8 ? [5, 5, 5, 5] : run % 2 == 0 ? [9, 9, 1, 1] : [1, 1, 9, 9]
    }
    let placement = SteadyPlacement(runs: runs, groups: 1, ranks: [2])
    #expect(placement.imbalance([0, 1, 2, 3]) > 1.01)
    #expect(abs(placement.imbalance(placement.improved([0, 1, 2, 3])) - 1) < 1e-12)
  }

  @Test(arguments: [(1, [4]), (4, [8]), (1, [2, 8]), (2, [5])])
  func `it is a permutation inside groups that is never worse`(_ groups: Int, _ ranks: [Int]) {
    var random = SeededGenerator(seed: 11)
    let runs = (0..<32).map { _ in
      (0..<16).map { 1000 / ($0 + 1) + Int.random(in: 0...90, using: &random) }
    }
    let placement = SteadyPlacement(runs: runs, groups: groups, ranks: ranks)
    let start = Array(0..<16)
    let order = placement.improved(start)
    #expect(order.sorted() == start && order != start)
    let size = 16 / groups
    for place in order.indices { #expect(order[place] / size == place / size) }
    let sums = { (order: [Int]) in
      ranks.map { count in
        SteadyPlacement(runs: runs, groups: groups, ranks: [count]).imbalance(order)
      }.reduce(0, +)
    }
    #expect(sums(order) < sums(start))
  }

  @Test func `one run, or none of any load, is placed as it is`() {
    #expect(
      SteadyPlacement(runs: [[5, 1, 1, 5]], groups: 1, ranks: [2]).imbalance([0, 1, 2, 3]) == 1)
    let none = SteadyPlacement(runs: [[0, 0], [0, 0]], groups: 1, ranks: [2])
    #expect(none.improved([0, 1]) == [0, 1] && none.imbalance([0, 1]) == 0)
  }
}
