// SPDX-License-Identifier: Apache-2.0
//
// Batches on expert-parallel ranks, told in the plainest way.

import Measures
import RegateKit
import Routing
import TestSupport
import Testing

@Suite struct RankBatchTests {
  @Test func `served tokens come from all sequences at different places`() {
    #expect(ServedOrder.rows([0..<4, 4..<8]) == [0, 6, 1, 7, 2, 4, 3, 5])
    // One sequence stays as it is; every row comes once, whatever the lengths.
    #expect(ServedOrder.rows([3..<7]) == [3, 4, 5, 6])
    let sequences = [0..<7, 7..<8, 8..<30, 30..<31]
    let rows = ServedOrder.rows(sequences)
    #expect(rows.sorted() == Array(0..<31))
    // Each half of the order has about half of the long sequence.
    #expect((10...12).contains(rows.prefix(15).count { 8..<30 ~= $0 }))
  }

  @Test func `a percentile is the nearest rank`() {
    let values = (1...200).map(Double.init).shuffled()
    #expect(values.percentile(0.5) == 100 && values.percentile(0.99) == 198)
    #expect([3.0, 1, 2].percentile(0.5) == 2 && [3.0, 1, 2].percentile(0.99) == 3)
    #expect([Double]().percentile(0.5) == nil)
  }

  @Test func `copies of an expert are dealt its tokens in turn`() {
    let layout = RankLayout(places: [0, 1, 0, 2], experts: 3, ranks: 2)
    let shares = layout.shares(of: [3, 0, 1])
    #expect(shares.load == [2, 2] && shares.experts == [1, 2])
    // A single token is read by one of them.
    #expect(layout.shares(of: [1, 0, 0]).experts == [1, 0])
  }

  @Test func `batches are what counting token by token says`() throws {
    var generator = SeededGenerator(seed: 7)
    let (tokens, topK, experts, ranks, size) = (100, 2, 12, 4, 16)
    let chosen = (0..<tokens).flatMap { _ in
      (0..<experts).map { Int32($0) }.shuffled(using: &generator).prefix(topK)
    }
    let assignment = Assignment(
      tokens: tokens, topK: topK, experts: chosen,
      weights: [Float](repeating: 0, count: chosen.count))
    let order = (0..<experts).shuffled(using: &generator)
    let found = try #require(
      RankBatches(
        tokens: size,
        assignment.shares(
          batch: size, experts: experts,
          on: RankLayout(places: order, experts: experts, ranks: ranks))))
    var busiest: [Double] = []
    var read: [Double] = []
    for batch in 0..<tokens / size {
      let own = chosen[batch * size * topK..<(batch + 1) * size * topK].map {
        order.firstIndex(of: Int($0))! / (experts / ranks)
      }
      let loads = (0..<ranks).map { rank in own.count { $0 == rank } }
      busiest.append(Double(loads.max()!) * Double(ranks) / Double(size * topK))
      read.append(
        Double(Set(chosen[batch * size * topK..<(batch + 1) * size * topK]).count)
          / Double(ranks))
    }
    busiest.sort()
    #expect(found.count == 6)
    #expect(abs(found.median - busiest[2]) < 1e-12 && abs(found.p99 - busiest[5]) < 1e-12)
    #expect(abs(found.experts - read.reduce(0, +) / 6) < 1e-12)
    #expect(found.mostExperts >= found.experts && found.mostExperts <= 3)
    #expect(
      RankBatches(
        tokens: 128,
        assignment.shares(
          batch: 128, experts: experts,
          on: RankLayout(places: order, experts: experts, ranks: ranks))) == nil)
  }

  @Test func `the slowest rank sets the time, by what takes it longer`() {
    let layout = RankLayout(places: [0, 1, 2, 3], experts: 4, ranks: 2)
    let expert = Roofline.Expert(elements: 6, bytes: 12)
    // Ten assignments of one expert, and two of two.
    let shares = layout.shares(of: [10, 0, 1, 1])
    #expect(Roofline(flops: 12, bandwidth: 1).seconds(shares, expert: expert) == 24)
    #expect(Roofline(flops: 12, bandwidth: 24).seconds(shares, expert: expert) == 10)
    #expect(Roofline(flops: 120, bandwidth: 24).seconds(shares, expert: expert) == 1)
  }
}
