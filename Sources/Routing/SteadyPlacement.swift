// SPDX-License-Identifier: Apache-2.0
//
// A placement that stays even on other texts. Experts that one kind of text uses together must lie
// on different ranks, which their total loads do not tell. So the load is looked at in half-samples
// of the texts (balanced half-samples, McCarthy 1969: of every two runs of tokens, far from each
// other, one by the signs of a Hadamard matrix), and experts are exchanged while
//
//   sum over half-samples of max over ranks of load / mean over ranks
//
// falls, summed over the rank counts. Exchanges stay inside expert groups.

/// The search for such a placement.
package struct SteadyPlacement {
  /// Load of each physical expert in each half-sample, [B][E], relative to the mean of a rank's.
  private let loads: [[Double]]
  private let groupSize: Int
  private let ranks: [Int]

  /// Runs of consecutive tokens whose loads are told apart, a power of two.
  package static let runs = 32
  /// Exchanges at most, per expert.
  private static let exchanges = 4

  /// `runs` [N][E] are the loads of runs of consecutive tokens; N is a power of two.
  package init(runs: [[Int]], groups: Int, ranks: [Int]) {
    precondition(!runs.isEmpty && runs.count & (runs.count - 1) == 0)
    let pairs = runs.count / 2
    let experts = runs[0].count
    groupSize = experts / groups
    self.ranks = ranks
    guard pairs > 0 else {
      loads = [Self.relative(runs[0])]
      return
    }
    loads = (0..<pairs).map { sample in
      var sum = [Int](repeating: 0, count: experts)
      for pair in 0..<pairs {
        // Sylvester's matrix: the sign of row i and column j is the parity of i AND j.
        let second = (sample & pair).nonzeroBitCount & 1
        for expert in 0..<experts { sum[expert] += runs[pair + second * pairs][expert] }
      }
      return Self.relative(sum)
    }
  }

  private static func relative(_ load: [Int]) -> [Double] {
    let total = Double(load.reduce(0, +))
    return load.map { total > 0 ? Double($0) / total : 0 }
  }

  /// The mean over half-samples of max/mean, of the rank count where it is largest.
  package func imbalance(_ order: [Int]) -> Double { imbalances(order).max() ?? 1 }

  /// The same for each rank count.
  package func imbalances(_ order: [Int]) -> [Double] {
    ranks.map { count in
      let division = Division(experts: order.count, ranks: count)
      return loads.reduce(0) { sum, load in
        sum + (division.sums(order, load).max() ?? 0) * Double(count)
      } / Double(loads.count)
    }
  }

  /// The expert in each place [E]: balanced by their total `load`, and then steadied.
  package func order(load: [Int]) -> [Int] {
    improved(Placement.balanced(load: load, groups: load.count / groupSize, ranks: ranks))
  }

  /// `order` after exchanges.
  package func improved(_ order: [Int]) -> [Int] {
    var search = Search(self, order: order)
    search.run()
    return search.order
  }

  /// Which rank each place is on.
  private struct Division {
    let rankOfPlace: [Int]
    let ranks: Int

    init(experts: Int, ranks: Int) {
      self.ranks = ranks
      rankOfPlace = Placement.rankOfPlace(experts, ranks: ranks)
    }

    func sums(_ order: [Int], _ load: [Double]) -> [Double] {
      var sums = [Double](repeating: 0, count: ranks)
      for (place, expert) in order.enumerated() { sums[rankOfPlace[place]] += load[expert] }
      return sums
    }
  }

  private struct Search {
    let placement: SteadyPlacement
    let divisions: [Division]
    var order: [Int]
    /// [divisions][B][ranks]
    var sums: [[[Double]]] = []
    /// The three fullest ranks, [divisions][B][3].
    var fullest: [[[Int]]] = []

    init(_ placement: SteadyPlacement, order: [Int]) {
      self.placement = placement
      self.order = order
      divisions = placement.ranks.map { Division(experts: order.count, ranks: $0) }
      refresh()
    }

    private mutating func refresh() {
      sums = divisions.map { division in
        placement.loads.map { division.sums(order, $0) }
      }
      fullest = sums.map { samples in
        samples.map { sums in
          Array(sums.indices.sorted { (-sums[$0], $0) < (-sums[$1], $1) }.prefix(3))
        }
      }
    }

    mutating func run() {
      for _ in 0..<SteadyPlacement.exchanges * order.count {
        guard let (a, b) = bestExchange() else { return }
        order.swapAt(a, b)
        refresh()
      }
    }

    private func bestExchange() -> (Int, Int)? {
      var best: (Int, Int)?
      var least = -1e-9
      let size = placement.groupSize
      for a in order.indices {
        for b in a + 1..<max(a + 1, (a / size + 1) * size) {
          let change = change(a, b)
          if change < least { (best, least) = ((a, b), change) }
        }
      }
      return best
    }

    /// How the sum changes when places a and b exchange their experts.
    private func change(_ a: Int, _ b: Int) -> Double {
      var total = 0.0
      for (number, division) in divisions.enumerated() {
        let (first, second) = (division.rankOfPlace[a], division.rankOfPlace[b])
        guard first != second else { continue }
        let weight = Double(division.ranks)
        for (sample, load) in placement.loads.enumerated() {
          let sums = sums[number][sample]
          let fullest = fullest[number][sample]
          let moved = load[order[a]] - load[order[b]]
          var peak = max(sums[first] - moved, sums[second] + moved)
          for rank in fullest where rank != first && rank != second {
            peak = max(peak, sums[rank])
            break
          }
          total += (peak - sums[fullest[0]]) * weight
        }
      }
      return total / Double(placement.loads.count)
    }
  }
}

extension Assignment {
  /// The load of `SteadyPlacement.runs` runs of consecutive tokens, [N][E].
  package func runLoads(experts: Int) -> [[Int]] {
    (0..<SteadyPlacement.runs).map { run in
      let rows = tokens * run / SteadyPlacement.runs..<tokens * (run + 1) / SteadyPlacement.runs
      return gathering(tokens: Array(rows)).load(experts: experts)
    }
  }
}
