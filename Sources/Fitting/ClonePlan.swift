// SPDX-License-Identifier: Apache-2.0
//
// How many of the E physical experts each logical expert f gets, and which of them change hands.
//
//   n_f by highest averages v_f / (n_f + 1/2) (Sainte-Laguë), inside each group
//
// The values v and exchanges of single physical experts come from PlanSearch.swift.
//
// Constraints: n_f <= floor(E/K), since a token takes a logical expert once, and one of n physical
// experts is to carry n T K / E <= T tokens; clones stay in their source's group; whichever groups
// a token may use, they hold at least K logical experts, and a group judged by its two best has
// two.

import Foundation
package import Routing

/// Physical experts per logical one, and the order in which they change hands.
package struct ClonePlan: Sendable, Equatable {
  /// One physical expert that becomes a copy of another logical expert.
  package struct Move: Sendable, Equatable {
    /// The physical expert, and with it the logical one that is pruned.
    package let physical: Int
    /// The logical expert that it will hold a copy of.
    package let logical: Int

    package init(physical: Int, logical: Int) {
      self.physical = physical
      self.logical = logical
    }
  }

  /// n [F]; zero for a logical expert that is pruned.
  package let physicalPerLogical: [Int]
  /// The least valuable first, each to the logical expert that is then most loaded per copy.
  package let moves: [Move]

  /// `values` [F] decide the apportionment, `loads` [F] the order of the moves. Logical experts of
  /// `keeping` are not pruned whatever their value.
  package init(
    rule: RoutingRule, values: [Double], loads: [Double], keeping: Set<Int> = []
  ) {
    precondition(values.count == rule.experts)
    var copies = [Int](repeating: 0, count: rule.experts)
    for group in rule.groupRanges {
      Self.apportion(group, values: values, rule: rule, keeping: keeping, to: &copies)
    }
    self.init(rule: rule, physicalPerLogical: copies, values: values, loads: loads)
  }

  /// A given apportionment; `values` [F] say which are pruned first, `loads` [F] who takes their
  /// places.
  package init(
    rule: RoutingRule, physicalPerLogical copies: [Int], values: [Double], loads: [Double]
  ) {
    let count = rule.experts
    precondition(copies.count == count && values.count == count && loads.count == count)
    var moves: [(value: Double, move: Move)] = []
    for group in rule.groupRanges {
      let pruned = group.filter { copies[$0] == 0 }
        .sorted { (values[$0], $0) < (values[$1], $1) }
      var held = [Int](repeating: 1, count: count)
      for physical in pruned {
        let taker = group.filter { held[$0] < copies[$0] }
          .max { loads[$0] / Double(held[$0]) < loads[$1] / Double(held[$1]) }
        guard let taker else { break }
        held[taker] += 1
        moves.append((values[physical], Move(physical: physical, logical: taker)))
      }
    }
    physicalPerLogical = copies
    self.moves = moves.sorted { ($0.value, $0.move.physical) < ($1.value, $1.move.physical) }.map(
      \.move)
  }

  private static func apportion(
    _ group: Range<Int>, values: [Double], rule: RoutingRule, keeping: Set<Int>,
    to copies: inout [Int]
  ) {
    let limit = rule.clonesLimit
    let best = group.sorted { (-values[$0], $0) < (-values[$1], $1) }
      .prefix(rule.leastPerGroup)
    let kept = keeping.intersection(group).union(best)
    for logical in kept { copies[logical] = 1 }
    for _ in 0..<group.count - kept.count {
      var best = -1
      var bestQuotient = -1.0
      for logical in group where copies[logical] < limit {
        let quotient = values[logical] / (Double(copies[logical]) + 0.5)
        if quotient > bestQuotient {
          best = logical
          bestQuotient = quotient
        }
      }
      copies[best] += 1
    }
  }

  /// The logical expert of each physical one, [E], after the first `count` moves.
  package func physicalToLogical(moves count: Int) -> [Int] {
    var map = Array(physicalPerLogical.indices)
    for move in moves.prefix(count) { map[move.physical] = move.logical }
    return map
  }

  /// The Gini that remains when every logical expert carries as much of its copies' uniform share
  /// as it can: a token takes a logical expert at most once, so one carries at most T tokens.
  package static func feasibleGini(physicalToLogical: [Int], topK: Int) -> Double {
    let held = physicalToLogical.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
    // Loads per physical expert in units of T / held; the rest spreads evenly over the logical
    // experts below the cap.
    var rest = Double(topK)
    var restCopies = physicalToLogical.count
    var loads: [Double] = []
    for copies in held.values.sorted(by: >) {
      let share = min(1 / Double(copies), rest / Double(restCopies))
      loads += [Double](repeating: share, count: copies)
      rest -= share * Double(copies)
      restCopies -= copies
    }
    return LoadMetrics.gini(loads) ?? 0
  }
}
