// SPDX-License-Identifier: Apache-2.0
//
// How many of the E slots each function gets, and which slots change hands.
//
//   slots n_f by highest averages v_f / (n_f + 1/2) (Sainte-Laguë), inside each group
//
// The values v and exchanges of single slots come from PlanSearch.swift.
//
// Constraints: n_f <= floor(E/K), since a token takes a function once and a function of n slots is
// to carry n T K / E <= T tokens; clones stay in their source's group; whichever groups a token may
// use, they hold at least K functions, and a group judged by its two best has two.

import Foundation
package import Routing

/// Slots per function and the order in which they change hands.
package struct ClonePlan: Sendable, Equatable {
  /// One slot given to another function.
  package struct Move: Sendable, Equatable {
    /// The slot, and the function that it gives up.
    package let slot: Int
    /// The function that it will hold.
    package let function: Int

    package init(slot: Int, function: Int) {
      self.slot = slot
      self.function = function
    }
  }

  /// n [E]; zero for a function that is given up.
  package let physicalPerLogical: [Int]
  /// Least valuable slots first, each to the function that is then most loaded per slot.
  package let moves: [Move]

  /// `values` [E] decide the apportionment, `loads` [E] the order of the moves. Functions of
  /// `keeping` hold a slot whatever their value.
  package init(
    rule: RoutingRule, values: [Double], loads: [Double], keeping: Set<Int> = []
  ) {
    precondition(values.count == rule.experts)
    var slots = [Int](repeating: 0, count: rule.experts)
    for group in Self.groups(of: rule) {
      Self.apportion(group, values: values, rule: rule, keeping: keeping, to: &slots)
    }
    self.init(rule: rule, physicalPerLogical: slots, values: values, loads: loads)
  }

  /// A given apportionment; `values` [E] say which slots go first, `loads` [E] who takes them.
  package init(
    rule: RoutingRule, physicalPerLogical slots: [Int], values: [Double], loads: [Double]
  ) {
    let count = rule.experts
    precondition(slots.count == count && values.count == count && loads.count == count)
    var moves: [(value: Double, move: Move)] = []
    for group in Self.groups(of: rule) {
      let freed = group.filter { slots[$0] == 0 }
        .sorted { (values[$0], $0) < (values[$1], $1) }
      var held = [Int](repeating: 1, count: count)
      for slot in freed {
        let taker = group.filter { held[$0] < slots[$0] }
          .max { loads[$0] / Double(held[$0]) < loads[$1] / Double(held[$1]) }
        guard let taker else { break }
        held[taker] += 1
        moves.append((values[slot], Move(slot: slot, function: taker)))
      }
    }
    physicalPerLogical = slots
    self.moves = moves.sorted { ($0.value, $0.move.slot) < ($1.value, $1.move.slot) }.map(\.move)
  }

  /// The slots of each group, or all slots where the family has no groups.
  package static func groups(of rule: RoutingRule) -> [Range<Int>] {
    let count = rule.groups?.count ?? 1
    let size = rule.experts / count
    return (0..<count).map { $0 * size..<($0 + 1) * size }
  }

  /// The fewest functions that a group must keep.
  package static func logicalPerGroup(_ rule: RoutingRule) -> Int {
    guard let groups = rule.groups else { return rule.topK }
    let share = (rule.topK + groups.kept - 1) / groups.kept
    return min(rule.experts / groups.count, max(share, groups.score == .topTwoSum ? 2 : 1))
  }

  private static func apportion(
    _ group: Range<Int>, values: [Double], rule: RoutingRule, keeping: Set<Int>,
    to slots: inout [Int]
  ) {
    let limit = rule.experts / rule.topK
    let best = group.sorted { (-values[$0], $0) < (-values[$1], $1) }
      .prefix(logicalPerGroup(rule))
    let kept = keeping.intersection(group).union(best)
    for function in kept { slots[function] = 1 }
    for _ in 0..<group.count - kept.count {
      var best = -1
      var bestQuotient = -1.0
      for function in group where slots[function] < limit {
        let quotient = values[function] / (Double(slots[function]) + 0.5)
        if quotient > bestQuotient {
          best = function
          bestQuotient = quotient
        }
      }
      slots[best] += 1
    }
  }

  /// The function of each slot after the first `count` moves.
  package func physicalToLogical(moves count: Int) -> [Int] {
    var map = Array(physicalPerLogical.indices)
    for move in moves.prefix(count) { map[move.slot] = move.function }
    return map
  }

  /// The Gini that remains when every function carries as much of its slots' uniform share as it
  /// can: a token takes a function at most once, so a function carries at most T tokens.
  package static func feasibleGini(physicalToLogical: [Int], topK: Int) -> Double {
    var held = [Int](repeating: 0, count: physicalToLogical.count)
    for function in physicalToLogical { held[function] += 1 }
    // Loads per slot in units of T / held; the rest spreads evenly over functions below the cap.
    let functions = held.indices.filter { held[$0] > 0 }.sorted { held[$0] > held[$1] }
    var rest = Double(topK)
    var restSlots = physicalToLogical.count
    var loads: [Double] = []
    for function in functions {
      let slots = held[function]
      let share = min(1 / Double(slots), rest / Double(restSlots))
      loads += [Double](repeating: share, count: slots)
      rest -= share * Double(slots)
      restSlots -= slots
    }
    return LoadMetrics.gini(loads) ?? 0
  }
}
