// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import ExpertMaps
import Testing

/// vLLM's start: place p holds expert number p mod E, ranks hold places in a row, and an expert's
/// tokens are shared evenly among its places.
private func imbalance(_ order: [Int], _ load: [Int], redundant: Int, ranks: Int) -> Double {
  let places = (0..<order.count + redundant).map { $0 % order.count }
  let room = places.count / ranks
  let sums = (0..<ranks).map { rank in
    places[rank * room..<(rank + 1) * room].reduce(0.0) { sum, number in
      sum + Double(load[order[number]]) / Double(places.count { $0 == number })
    }
  }
  return (sums.max() ?? 0) * Double(ranks) / Double(load.reduce(0, +))
}

struct StartingReplicasTests {
  private static let load = (0..<32).map { 4000 / ($0 + 2) + $0 * 37 % 11 }

  private func map(
    groups: Int = 1, ranks: [Int], redundant: Int, load: [Int] = load
  ) throws -> ExpertMap {
    try ExpertMap.renumbering(
      .init(planned: [load]), groups: [groups], ranks: ranks, redundant: redundant)
  }

  @Test(arguments: [(1, [4], 8), (1, [2, 4, 8], 8), (4, [4], 8), (1, [5], 3), (1, [4], 36)])
  func `ranks come out even where a runtime starts copies of the first experts`(
    _ groups: Int, _ ranks: [Int], _ redundant: Int
  ) throws {
    let map = try map(groups: groups, ranks: ranks, redundant: redundant)
    let order = map.layers[0]
    #expect(order.sorted() == Array(0..<32) && map.redundant == redundant)
    for entry in map.imbalance {
      let found = imbalance(order, Self.load, redundant: redundant, ranks: entry.ranks)
      #expect(abs((entry.after ?? 0) - found) < 1e-12)
      let plain = imbalance(Array(0..<32), Self.load, redundant: redundant, ranks: entry.ranks)
      #expect(found < plain)
      if groups == 1, ranks.count == 1, redundant < 32 { #expect(found < 1.02, "\(found)") }
    }
    let size = 32 / groups
    for block in 0..<groups {
      #expect(Set(order[block * size..<(block + 1) * size].map { $0 / size }).count == 1)
    }
  }

  @Test func `the heaviest experts get the numbers that start twice`() throws {
    let order = try map(ranks: [4], redundant: 8).layers[0]
    #expect(order[..<8].contains(0))
    // One expert with half of the load: doubled, it no longer fills a rank of two alone.
    let load = [1, 1, 1, 9, 1, 1, 1, 3]
    let even = try map(ranks: [2], redundant: 2, load: load)
    #expect(try #require(even.imbalance[0].after) < 1.2)
  }

  @Test func `places that do not divide among the ranks are refused`() {
    let error = #expect(throws: RegateError.self) { try map(ranks: [4, 8], redundant: 4) }
    #expect(error?.description.contains("36 places do not divide among 8 ranks") == true)
  }
}
