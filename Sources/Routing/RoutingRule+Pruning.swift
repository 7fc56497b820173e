// SPDX-License-Identifier: Apache-2.0

import Tensors

extension RoutingRule {
  /// The same rule over `count` experts: all others are pruned, as many from each group.
  package func keeping(_ count: Int) -> RoutingRule {
    var rule = self
    rule.experts = count
    return rule
  }

  /// The experts of each group, or all experts where the family has no groups.
  package var groupRanges: [Range<Int>] {
    let count = groups?.count ?? 1
    let size = experts / count
    return (0..<count).map { $0 * size..<($0 + 1) * size }
  }

  /// The fewest logical experts that a group must keep.
  package var leastPerGroup: Int {
    guard let groups else { return topK }
    let share = (topK + groups.kept - 1) / groups.kept
    return min(experts / groups.count, max(share, groups.score == .topTwoSum ? 2 : 1))
  }

  /// Why `count` experts cannot be pruned, and what can; nil where they can.
  package func problem(pruning count: Int) -> (found: String, advice: String)? {
    let groupCount = groups?.count ?? 1
    let most = experts - groupCount * leastPerGroup
    let numbers =
      groupCount > 1 ? "multiples of \(groupCount) up to \(most)" : "numbers from 1 to \(most)"
    let advice = most > 0 ? "give one of the \(numbers)" : "no expert can be left out"
    guard count > 0, count <= most else {
      return (
        "is \(count), but of the \(experts) experts \(experts - most) must stay: top-k is \(topK)"
          + (groupCount > 1 ? ", in \(groupCount) groups" : ""), advice
      )
    }
    guard count.isMultiple(of: groupCount) else {
      return ("is \(count), which the \(groupCount) groups of experts cannot share", advice)
    }
    return nil
  }

  /// What makes `kept`, fewer experts than there are, no pruning of them; nil where nothing does.
  func problem(keeping kept: [Int]) -> String? {
    if let problem = problem(pruning: experts - kept.count) {
      return "leaves \(kept.count) experts: the number of those left out \(problem.found)"
    }
    let ranges = groupRanges
    let size = kept.count / ranges.count
    for (place, expert) in kept.enumerated() {
      guard ranges[place / size].contains(expert), place == 0 || kept[place - 1] < expert else {
        return "has expert \(expert) at \(place), expected ascending experts of one group after "
          + "the other, as many of each"
      }
    }
    return nil
  }
}

extension FamilyRouter {
  /// The router of the experts `kept` alone, ascending: their rows and biases as they are.
  package func keeping(_ kept: [Int]) -> FamilyRouter {
    func values(_ bias: [Float]?) -> [Float]? { bias.map { bias in kept.map { bias[$0] } } }
    return FamilyRouter(
      gate: gate.gathering(rows: kept), logitBias: values(logitBias),
      selectionBias: values(selectionBias), rule: rule.keeping(kept.count))
  }
}
