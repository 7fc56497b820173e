// SPDX-License-Identifier: Apache-2.0

package import Routing

/// On which ranks of an expert-parallel group the experts of a layer lie.
package struct RankLayout: Sendable, Hashable {
  package let ranks: Int
  /// For each expert the rank of each of its places, [E][copies].
  private let ranksOf: [[Int]]

  /// `places` [P] names the expert in each place; places of one rank follow each other, and where
  /// they do not divide evenly the first ranks have one more.
  package init(places: [Int], experts: Int, ranks: Int) {
    precondition(1...max(places.count, 1) ~= ranks)
    self.ranks = ranks
    let rankOfPlace = Placement.rankOfPlace(places.count, ranks: ranks)
    var ranksOf = [[Int]](repeating: [], count: experts)
    for (place, expert) in places.enumerated() { ranksOf[expert].append(rankOfPlace[place]) }
    precondition(ranksOf.allSatisfy { !$0.isEmpty }, "every expert has a place")
    self.ranksOf = ranksOf
  }

  /// What one batch gives every rank, from its assignments per expert [E]. Copies of an expert are
  /// dealt its tokens in turn.
  package func shares(of load: [Int]) -> RankShares {
    var shares = RankShares(load: .init(repeating: 0, count: ranks), ranks: ranks)
    for (expert, count) in load.enumerated() where count > 0 {
      let own = ranksOf[expert]
      for (copy, rank) in own.enumerated() {
        let part = count / own.count + (copy < count % own.count ? 1 : 0)
        guard part > 0 else { break }
        shares.load[rank] += part
        shares.experts[rank] += 1
      }
    }
    return shares
  }
}

/// What one batch of tokens gives the ranks of an expert-parallel group in one layer.
package struct RankShares: Sendable, Hashable {
  /// Assignments that each rank computes.
  package fileprivate(set) var load: [Int]
  /// Distinct experts that each rank reads for them, copies counted one by one.
  package fileprivate(set) var experts: [Int]

  fileprivate init(load: [Int], ranks: Int) {
    self.load = load
    experts = .init(repeating: 0, count: ranks)
  }
}

extension Assignment {
  /// What every full batch of `batch` consecutive tokens gives the ranks of `layout`.
  package func shares(batch: Int, experts count: Int, on layout: RankLayout) -> [RankShares] {
    precondition(batch > 0)
    return (0..<tokens / batch).map { number in
      var load = [Int](repeating: 0, count: count)
      for expert in experts[number * batch * topK..<(number + 1) * batch * topK] {
        load[Int(expert)] += 1
      }
      return layout.shares(of: load)
    }
  }
}
