// SPDX-License-Identifier: Apache-2.0
//
// Which expert lies where, so that contiguous expert-parallel ranks carry equal load. N ranks, E
// experts, G groups of E/G consecutive experts (1 without groups). A renumbering may move whole
// groups, and experts inside their group, so that a group-limited rule keeps its groups.
//
// Longest processing time first: the heaviest goes to the lightest rank that has room; then
// exchanges of two experts (or groups) while the two ranks' larger load falls.

/// A lossless renumbering of a layer's experts.
package enum Placement {
  /// The renumbering that is best for several rank counts together: the least sum of their
  /// imbalances. For each new number, the old one of the expert [E].
  package static func balanced(load: [Int], groups: Int, ranks: [Int]) -> [Int] {
    var candidates = [Array(load.indices)]
    for count in ranks.sorted(by: >) {
      candidates.append(balanced(load: load, groups: groups, ranks: count))
    }
    if groups == 1 {
      // Nested: the experts of a rank stay together when ranks are divided further.
      var nested = Array(load.indices)
      var blocks = 1
      for count in ranks.sorted() where load.count % blocks == 0 && count % blocks == 0 {
        let step = balanced(load: nested.map { load[$0] }, groups: blocks, ranks: count)
        nested = step.map { nested[$0] }
        if load.count % count == 0 { blocks = count }
      }
      candidates.append(nested)
    }
    func imbalance(_ placement: [Int]) -> Double {
      let moved = placement.map { load[$0] }
      return ranks.reduce(0) { $0 + (LoadMetrics.rankImbalance(load: moved, ranks: $1) ?? 0) }
    }
    var best = (candidates[0], imbalance(candidates[0]))
    for candidate in candidates.dropFirst() {
      let figure = imbalance(candidate)
      if figure < best.1 - 1e-9 { best = (candidate, figure) }
    }
    return best.0
  }

  /// For each new number, the old one of the expert [E]. `load` [E]: assignments per old number.
  package static func balanced(load: [Int], groups: Int, ranks: Int) -> [Int] {
    let count = load.count
    precondition(groups > 0 && count % groups == 0 && ranks > 0 && ranks <= count)
    let rankOfPlace = self.rankOfPlace(count, ranks: ranks)
    let size = count / groups
    var order = Array(0..<groups)
    if groups > 1, groups % ranks == 0 {
      // Whole groups fit into ranks: spread them first.
      let sums = (0..<groups).map { load[$0 * size..<($0 + 1) * size].reduce(0, +) }
      order = arranged(
        sums, capacities: Array(repeating: groups / ranks, count: ranks),
        base: Array(repeating: 0, count: ranks)
      ).joined().map { $0 }
    }
    var result: [Int] = []
    var carried = [Int](repeating: 0, count: ranks)
    for group in order {
      let places = result.count..<result.count + size
      let members = rankOfPlace[places]
      let involved = (members.first ?? 0)...(members.last ?? 0)
      let experts = Array(group * size..<(group + 1) * size)
      let bins = arranged(
        experts.map { load[$0] },
        capacities: involved.map { rank in members.count { $0 == rank } },
        base: involved.map { carried[$0] })
      for (bin, items) in bins.enumerated() {
        carried[involved.lowerBound + bin] += items.reduce(0) { $0 + load[experts[$1]] }
        result += items.map { experts[$0] }
      }
    }
    // Never worse than what was there.
    let now = LoadMetrics.rankImbalance(load: result.map { load[$0] }, ranks: ranks) ?? 0
    let before = LoadMetrics.rankImbalance(load: load, ranks: ranks) ?? 0
    return now < before ? result : Array(0..<count)
  }

  /// The rank of each place, as `LoadMetrics.rankImbalance` divides them.
  package static func rankOfPlace(_ count: Int, ranks: Int) -> [Int] {
    let (share, extra) = count.quotientAndRemainder(dividingBy: ranks)
    return (0..<ranks).flatMap { rank in
      Array(repeating: rank, count: share + (rank < extra ? 1 : 0))
    }
  }

  /// Divides items into bins of fixed numbers of items and about equal load; each bin's items in
  /// ascending order. `base`: load that a bin carries already.
  private static func arranged(_ loads: [Int], capacities: [Int], base: [Int]) -> [[Int]] {
    var bins = [[Int]](repeating: [], count: capacities.count)
    var sums = base
    for item in loads.indices.sorted(by: { (-loads[$0], $0) < (-loads[$1], $1) }) {
      let open = bins.indices.filter { bins[$0].count < capacities[$0] }
      guard let bin = open.min(by: { (sums[$0], $0) < (sums[$1], $1) }) else { continue }
      bins[bin].append(item)
      sums[bin] += loads[item]
    }
    while let (from, a, to, b) = bestExchange(bins, sums, loads) {
      let difference = loads[bins[from][a]] - loads[bins[to][b]]
      sums[from] -= difference
      sums[to] += difference
      (bins[from][a], bins[to][b]) = (bins[to][b], bins[from][a])
    }
    return bins.map { $0.sorted() }
  }

  /// The exchange that lowers the fullest bin most without filling another one as much.
  private static func bestExchange(
    _ bins: [[Int]], _ sums: [Int], _ loads: [Int]
  ) -> (from: Int, a: Int, to: Int, b: Int)? {
    guard let from = sums.indices.max(by: { (sums[$0], -$0) < (sums[$1], -$1) }) else {
      return nil
    }
    var best: (from: Int, a: Int, to: Int, b: Int)?
    var peak = sums[from]
    for to in bins.indices where to != from {
      for (a, left) in bins[from].enumerated() {
        for (b, right) in bins[to].enumerated() where loads[left] > loads[right] {
          let difference = loads[left] - loads[right]
          let larger = max(sums[from] - difference, sums[to] + difference)
          if larger < peak {
            peak = larger
            best = (from, a, to, b)
          }
        }
      }
    }
    return best
  }
}
