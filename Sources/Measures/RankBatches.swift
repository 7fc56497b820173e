// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
public import Checkpoints
import OrderedCollections

/// How batches of one size fall on the ranks of an expert-parallel group.
public struct RankBatches: Sendable, Hashable, Codable {
  /// Sizes that are looked at where none are given: from decoding to the prefill of long prompts.
  public static let standardSizes = [256, 4096, 32768]

  /// Tokens of a batch, those of all ranks together.
  public let tokens: Int
  /// Full batches that were looked at.
  public let count: Int
  /// Busiest rank over the mean, which half of the batches do not exceed.
  public let median: Double
  /// The same that 99 % of the batches do not exceed; of fewer than 100 batches, the worst.
  public let p99: Double
  /// Distinct experts that a rank reads for a batch, mean over batches and ranks.
  public let experts: Double
  /// The same of the rank that reads most, mean over batches.
  public let mostExperts: Double

  /// `shares` are those of all batches of `tokens` tokens in one layer; nil where there is none.
  package init?(tokens: Int, _ shares: [RankShares]) {
    let busiest = shares.compactMap { share -> Double? in
      let total = share.load.reduce(0, +)
      return total > 0
        ? Double((share.load.max() ?? 0) * share.load.count) / Double(total) : nil
    }
    guard let median = busiest.percentile(0.5), let p99 = busiest.percentile(0.99) else {
      return nil
    }
    func mean(_ value: (RankShares) -> Double) -> Double {
      shares.reduce(0) { $0 + value($1) } / Double(shares.count)
    }
    self.init(
      tokens: tokens, count: shares.count, median: median, p99: p99,
      experts: mean { Double($0.experts.reduce(0, +)) / Double($0.experts.count) },
      mostExperts: mean { Double($0.experts.max() ?? 0) })
  }

  private init(
    tokens: Int, count: Int, median: Double, p99: Double, experts: Double, mostExperts: Double
  ) {
    self.tokens = tokens
    self.count = count
    self.median = median
    self.p99 = p99
    self.experts = experts
    self.mostExperts = mostExperts
  }

  /// Means over layers of batches of one size; nil without a layer.
  package init?(meanOf layers: [RankBatches]) {
    guard let first = layers.first else { return nil }
    func mean(_ value: KeyPath<RankBatches, Double>) -> Double {
      layers.reduce(0) { $0 + $1[keyPath: value] } / Double(layers.count)
    }
    self.init(
      tokens: first.tokens, count: first.count, median: mean(\.median), p99: mean(\.p99),
      experts: mean(\.experts), mostExperts: mean(\.mostExperts))
  }

  /// Refuses sizes that no batch can have.
  package static func requireSizes(_ sizes: [Int]) throws(RegateError) {
    guard sizes.allSatisfy({ $0 > 0 }), Set(sizes).count == sizes.count else {
      throw RegateError(
        .refused, subject: "`batches`", "are \(sizes), expected different numbers above 0")
    }
  }

  private enum CodingKeys: String, CodingKey {
    case tokens, p99
    case count = "batches"
    case median = "p50"
    case experts = "experts_per_rank"
    case mostExperts = "experts_of_fullest_rank"
  }

  /// The figures as one JSON object, with the keys of the encoded form.
  public var json: JSONValue {
    [
      "tokens": .integer(tokens), "batches": .integer(count), "p50": .number(median),
      "p99": .number(p99), "experts_per_rank": .number(experts),
      "experts_of_fullest_rank": .number(mostExperts),
    ]
  }
}
