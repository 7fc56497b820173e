// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Measures
import OrderedCollections
import Reports
import Routing

extension Validation {
  /// How batches fall on so many ranks under both routers, in one layer; sizes that no batch could
  /// be made of are missing.
  public struct RankFigures: Sendable, Hashable, Codable {
    /// Ranks of the group, each of which holds consecutive experts.
    public let ranks: Int
    /// Under the original's router, by batch size.
    public let original: [RankBatches]
    /// Under the patched router, by batch size.
    public let patched: [RankBatches]
  }

  /// Means over layers of the figures of batches, for each number of ranks.
  public var rankBatches: [RankFigures] {
    (layers.first?.rankBatches ?? []).indices.map { place in
      let figures = layers.map { $0.rankBatches[place] }
      func means(_ side: (RankFigures) -> [RankBatches]) -> [RankBatches] {
        side(figures[0]).indices.compactMap { size in
          RankBatches(meanOf: figures.map { side($0)[size] })
        }
      }
      return RankFigures(
        ranks: figures[0].ranks, original: means(\.original), patched: means(\.patched))
    }
  }

  /// The ranks batch by batch, means over layers; nil where none were asked for or can be told.
  var batchTable: TextTable? {
    let figures = rankBatches.filter { !$0.original.isEmpty }
    guard !figures.isEmpty else { return nil }
    var table = TextTable(
      [
        "ranks", "batch", "batches", "p50", "patched", "p99", "patched", "experts read", "patched",
      ], alignments: .init(repeating: .right, count: 9))
    for ranks in figures {
      for (before, after) in zip(ranks.original, ranks.patched) {
        table.append([
          String(ranks.ranks), Format.count(before.tokens), Format.count(before.count),
          Format.number(before.median), Format.number(after.median), Format.number(before.p99),
          Format.number(after.p99), Format.number(before.experts, decimals: 2),
          Format.number(after.experts, decimals: 2),
        ])
      }
    }
    return table
  }

  /// What that table shows, and what it does not.
  var batchNote: String {
    let note =
      "Busiest rank over the mean that half (p50) and 99 % (p99) of the batches do not exceed, and "
      + "distinct experts that a rank reads for a batch; means over layers. A batch takes tokens "
      + "from all sequences in turn, as a server mixes requests."
    let missing = batches.filter { $0 > tokens }
    guard !missing.isEmpty else { return note }
    return note + " Left out, for want of tokens: batches of "
      + missing.map { Format.count($0) }.joined(separator: ", ") + "."
  }

  /// The figures of batches as JSON.
  static func json(_ figures: [RankFigures]) -> JSONValue {
    .array(
      figures.map {
        [
          "ranks": .integer($0.ranks), "original": .array($0.original.map(\.json)),
          "patched": .array($0.patched.map(\.json)),
        ]
      })
  }
}

extension Validation.RankFigures {
  /// What a router did with tokens in the order of serving, among so many experts.
  typealias Served = (assignment: Assignment, experts: Int)

  /// Both sides of a layer.
  init(ranks: Int, sizes: [Int], original: Served, patched: Served) {
    self.ranks = ranks
    func figures(_ side: Served) -> [RankBatches] {
      let layout = RankLayout(
        places: Array(0..<side.experts), experts: side.experts, ranks: ranks)
      return sizes.compactMap {
        RankBatches(
          tokens: $0,
          side.assignment.shares(batch: $0, experts: side.experts, on: layout))
      }
    }
    self.original = figures(original)
    self.patched = figures(patched)
  }
}
