// SPDX-License-Identifier: Apache-2.0
//
// A renumbering for a runtime that has no map of its own, but starts its redundant places as copies
// of the first experts and shares an expert's tokens evenly among its copies: vLLM's EPLB
// (`EplbState.build_initial_global_physical_to_logical_map`). With E experts, R redundant places,
//
//   place p of 0..<E+R holds expert number p mod E;  rank r of N holds (E+R)/N places in a row
//
// so the experts that are worth a second copy must have the lowest numbers, and the numbers must be
// given so that the ranks come out even.
//
// Heaviest first to the number whose ranks stay lightest, those with more copies first; then
// exchanges of two experts while the fullest rank gets lighter. Experts stay in their group of E/G
// consecutive ones; the heaviest groups come first.

import Routing

struct StartingReplicas {
  let experts: Int
  let redundant: Int
  /// G.
  let groups: Int

  /// The expert in each place [E+R], for experts that were given the numbers of `order` [E].
  static func places(_ order: [Int], redundant: Int) -> [Int] {
    (0..<order.count + redundant).map { order[$0 % order.count] }
  }

  /// For each new number, the old one of the expert [E]: the least sum of imbalances over `ranks`.
  /// Every rank count divides E+R.
  func balanced(load: [Int], ranks: [Int]) -> [Int] {
    func imbalance(_ order: [Int]) -> Double {
      let plan = Self.places(order, redundant: redundant)
      return ranks.reduce(0) {
        $0 + (ExpertReplication.imbalance(plan: plan, load: load, gpus: $1) ?? 0)
      }
    }
    var best = (order: Array(0..<experts), imbalance: imbalance(Array(0..<experts)))
    for count in ranks.sorted(by: >) {
      var search = Search(self, load: load, ranks: count)
      search.start()
      search.improve()
      let figure = imbalance(search.order)
      if figure < best.imbalance - 1e-9 { best = (search.order, figure) }
    }
    return best.order
  }

  /// One search, for one rank count.
  private struct Search {
    let replicas: StartingReplicas
    let load: [Int]
    /// The ranks that a number's places are on, one entry for each place [E][copies].
    let ranksOf: [[Int]]
    /// The expert that has each number [E]; -1 while none has.
    var order: [Int]
    var sums: [Double]

    init(_ replicas: StartingReplicas, load: [Int], ranks: Int) {
      self.replicas = replicas
      self.load = load
      let places = replicas.experts + replicas.redundant
      let room = places / ranks
      ranksOf = (0..<replicas.experts).map { number in
        stride(from: number, to: places, by: replicas.experts).map { $0 / room }
      }
      order = [Int](repeating: -1, count: replicas.experts)
      sums = [Double](repeating: 0, count: ranks)
    }

    private func share(_ expert: Int, _ number: Int) -> Double {
      Double(load[expert]) / Double(ranksOf[number].count)
    }

    /// Gives every expert a number.
    mutating func start() {
      let size = replicas.experts / replicas.groups
      let weights = (0..<replicas.groups).map { group in
        load[group * size..<(group + 1) * size].reduce(0, +)
      }
      let byWeight = weights.indices.sorted { (-weights[$0], $0) < (-weights[$1], $1) }
      for (block, group) in byWeight.enumerated() {
        let own = (group * size..<(group + 1) * size).sorted { (-load[$0], $0) < (-load[$1], $1) }
        // Numbers with more copies are for the heavier experts.
        let numbers = (block * size..<(block + 1) * size).sorted {
          (-ranksOf[$0].count, $0) < (-ranksOf[$1].count, $1)
        }
        var free = numbers
        for (place, expert) in own.enumerated() {
          let copies = ranksOf[numbers[place]].count
          let open = free.filter { ranksOf[$0].count == copies }
          guard let number = open.min(by: { (peak(expert, $0), $0) < (peak(expert, $1), $1) })
          else { continue }
          free.removeAll { $0 == number }
          order[number] = expert
          for rank in ranksOf[number] { sums[rank] += share(expert, number) }
        }
      }
    }

    /// The fullest of a number's ranks once `expert` has it.
    private func peak(_ expert: Int, _ number: Int) -> Double {
      (ranksOf[number].map { sums[$0] }.max() ?? 0) + share(expert, number)
    }

    /// Exchanges experts while the fullest rank gets lighter.
    mutating func improve() {
      for _ in 0..<8 * replicas.experts {
        guard let (a, b) = bestExchange() else { return }
        for (rank, change) in changes(a, b) { sums[rank] += change }
        order.swapAt(a, b)
      }
    }

    private func changes(_ a: Int, _ b: Int) -> [(rank: Int, change: Double)] {
      let (first, second) = (order[a], order[b])
      return ranksOf[a].map { ($0, share(second, a) - share(first, a)) }
        + ranksOf[b].map { ($0, share(first, b) - share(second, b)) }
    }

    private func bestExchange() -> (Int, Int)? {
      guard let fullest = sums.indices.max(by: { (sums[$0], -$0) < (sums[$1], -$1) }) else {
        return nil
      }
      let size = replicas.experts / replicas.groups
      var best: (Int, Int)?
      var least = sums[fullest] * (1 - 1e-12)
      for a in order.indices where ranksOf[a].contains(fullest) {
        for b in a / size * size..<(a / size + 1) * size where b != a {
          var touched = [fullest: sums[fullest]]
          for (rank, change) in changes(a, b) { touched[rank, default: sums[rank]] += change }
          let peak = touched.values.max() ?? .infinity
          if peak < least { (best, least) = ((a, b), peak) }
        }
      }
      return best
    }
  }
}
