// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import ExpertMaps
import Routing
import Testing

struct ExpertMapTests {
  /// Two layers of 16 experts whose first quarter is hot.
  private static let load = [0, 1].map { layer in
    (0..<16).map { 1000 / ($0 + 1) + layer * 7 * ($0 % 3) }
  }

  @Test func `experts that one kind of text uses together come to different ranks`() throws {
    let runs = (0..<16).map { $0 < 8 ? [9, 9, 1, 1] : [1, 1, 9, 9] }
    let loads = ExpertMap.Loads(planned: [[80, 80, 80, 80]], runs: [runs])
    let order = try ExpertMap.renumbering(loads, groups: [1], ranks: [2]).layers[0]
    #expect(Set(order[..<2]) != [0, 1] && Set(order[..<2]) != [2, 3])
    // Totals alone do not tell.
    let blind = try ExpertMap.renumbering(
      .init(planned: loads.planned), groups: [1], ranks: [2])
    #expect(blind.layers[0] == [0, 1, 2, 3])
  }

  @Test func `a layer that would gain less than a hundredth stays as it is`() throws {
    let runs = [[Int]](repeating: [1004, 1004, 996, 996], count: 16)
    let planned = [runs[0].map { $0 * 16 }]
    let map = { (runs: [[[Int]]]?) throws in
      try ExpertMap.renumbering(.init(planned: planned, runs: runs), groups: [1], ranks: [2])
    }
    #expect(try map([runs]).layers[0] == [0, 1, 2, 3])
    #expect(try map(nil).layers[0] != [0, 1, 2, 3])
  }

  @Test func `a renumbering is a permutation of each layer that evens its ranks`() throws {
    let map = try ExpertMap.renumbering(.init(planned: Self.load), groups: [1, 4], ranks: [2, 4])
    #expect(map.layers.allSatisfy { $0.sorted() == Array(0..<16) })
    #expect(map.imbalance.map(\.ranks) == [2, 4])
    for entry in map.imbalance {
      // The figures are those of the loads, moved: means over layers.
      func mean(_ layers: [[Int]]) -> Double {
        let figures = layers.compactMap {
          LoadMetrics.rankImbalance(load: $0, ranks: entry.ranks)
        }
        return figures.reduce(0, +) / Double(figures.count)
      }
      #expect(abs((entry.before ?? 0) - mean(Self.load)) < 1e-12)
      let moved = zip(map.layers, Self.load).map { order, load in order.map { load[$0] } }
      #expect(abs((entry.after ?? 0) - mean(moved)) < 1e-12)
      #expect(try #require(entry.after) < #require(entry.before))
    }
    // Groups of four move as a whole.
    for group in 0..<4 {
      #expect(Set(map.layers[1][group * 4..<(group + 1) * 4].map { $0 / 4 }).count == 1)
    }
  }

  @Test func `rank counts above the number of experts are left out, and none left is refused`()
    throws
  {
    let map = try ExpertMap.renumbering(.init(planned: Self.load), groups: [1, 1], ranks: [4, 32])
    #expect(map.imbalance.map(\.ranks) == [4])
    let error = #expect(throws: RegateError.self) {
      try ExpertMap.renumbering(.init(planned: Self.load), groups: [1, 1], ranks: [32])
    }
    #expect(error?.description.contains("no rank count is at most 16") == true)
  }

  @Test func `a map with redundant places holds every expert, the hottest most often`() throws {
    let map = try ExpertMap.replicating(
      .init(planned: Self.load), groups: 1, ranks: 4, machines: 1, redundant: 8)
    for layer in map.layers {
      #expect(layer.count == 24)
      let copies = (0..<16).map { expert in layer.count { $0 == expert } }
      #expect(copies.allSatisfy { $0 > 0 })
      #expect(copies[0] == copies.max())
    }
    #expect(map.imbalance.map(\.ranks) == [4])
    let entry = try #require(map.imbalance.first)
    #expect(try #require(entry.after) < #require(entry.before))
  }

  @Test func `what has no map is refused by name`() {
    func refusal(_ load: [[Int]], ranks: Int, machines: Int, redundant: Int) -> String {
      let error = #expect(throws: RegateError.self) {
        try ExpertMap.replicating(
          .init(planned: load), groups: 1, ranks: ranks, machines: machines, redundant: redundant)
      }
      return error?.description ?? ""
    }
    #expect(
      refusal(Self.load, ranks: 5, machines: 1, redundant: 0).contains("do not divide among 5"))
    #expect(
      refusal(Self.load, ranks: 4, machines: 3, redundant: 0).contains("among 3 machines"))
    #expect(
      refusal([[1, 2], [1, 2, 3]], ranks: 1, machines: 1, redundant: 0).contains("different"))
  }

  @Test func `no load has no imbalance`() throws {
    let none = [[Int](repeating: 0, count: 8)]
    let map = try ExpertMap.renumbering(.init(planned: none), groups: [1], ranks: [2])
    #expect(map.layers == [Array(0..<8)])
    #expect(map.imbalance.first?.before == nil && map.imbalance.first?.after == nil)
    #expect(map.json["2"]?["before"]?.doubleValue == nil)
  }

  @Test func `figures are those of the loads that judge`() throws {
    let judged = Self.load.map { Array($0.reversed()) }
    let map = try ExpertMap.renumbering(
      .init(planned: Self.load, judged: judged), groups: [1, 1], ranks: [4])
    #expect(
      map.layers
        == (try ExpertMap.renumbering(
          .init(planned: Self.load), groups: [1, 1], ranks: [4]
        ).layers))
    let figures = zip(map.layers, judged).compactMap { order, load in
      LoadMetrics.rankImbalance(load: order.map { load[$0] }, ranks: 4)
    }
    #expect(abs((map.imbalance[0].after ?? 0) - figures.reduce(0, +) / 2) < 1e-12)
  }
}
