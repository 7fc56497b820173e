// SPDX-License-Identifier: Apache-2.0
//
// How far a patched router still does what the original did, over logical experts: clones count as
// one. For a token with chosen sets A (original) and B (patched), and weights p, q that are
// normalised and added up per logical expert:
//
//   overlap    |A n B| / |A|
//   duplicates assignments to a logical expert that an earlier rank of the same token already chose
//   KL         sum_f p_f log(p_f / q'_f),  q' = (1 - e) q + e p
//
// q' keeps KL finite where an expert of A is missing in B: losing all of A costs log(1/e).

import Foundation

/// Agreement of two routings of the same tokens.
public struct RoutingAgreement: Sendable, Hashable, Codable {
  /// e above: a token that lost all its experts counts 4.6 nats.
  public static let smoothing = 0.01

  /// Mean share of the original's chosen logical experts that the patched router chose too.
  public let overlap: Double
  /// Share of the patched router's assignments that repeat a logical expert of their token.
  public let duplicateRate: Double
  /// Mean KL divergence of the weights per logical expert, in nats.
  public let divergence: Double

  private enum CodingKeys: String, CodingKey {
    case overlap
    case duplicateRate = "duplicate_rate"
    case divergence = "kl"
  }

  /// `originalMap`, `patchedMap`: the logical expert of each physical one, in one numbering.
  package init(
    original: Assignment, originalMap: [Int], patched: Assignment, patchedMap: [Int]
  ) {
    precondition(original.tokens == patched.tokens)
    let count = (max(originalMap.max() ?? -1, patchedMap.max() ?? -1)) + 1
    var p = [Double](repeating: 0, count: count)
    var q = p
    var shared = 0
    var originals = 0
    var duplicates = 0
    var divergence = 0.0
    for token in 0..<original.tokens {
      let a = original.logicalExperts(of: token, map: originalMap)
      let b = patched.logicalExperts(of: token, map: patchedMap)
      let distinct = Set(b)
      originals += Set(a).count
      shared += Set(a).count { distinct.contains($0) }
      duplicates += b.count - distinct.count
      original.addShares(of: token, experts: a, to: &p)
      patched.addShares(of: token, experts: b, to: &q)
      for expert in Set(a).sorted() where p[expert] > 0 {
        let smoothed = (1 - Self.smoothing) * q[expert] + Self.smoothing * p[expert]
        divergence += p[expert] * log(p[expert] / smoothed)
      }
      for expert in a { p[expert] = 0 }
      for expert in b { q[expert] = 0 }
    }
    let assignments = patched.tokens * patched.topK
    overlap = originals > 0 ? Double(shared) / Double(originals) : 1
    duplicateRate = assignments > 0 ? Double(duplicates) / Double(assignments) : 0
    self.divergence = original.tokens > 0 ? divergence / Double(original.tokens) : 0
  }
}

extension Assignment {
  fileprivate func logicalExperts(of token: Int, map: [Int]) -> [Int] {
    experts[token * topK..<(token + 1) * topK].map { map[Int($0)] }
  }

  /// Adds the token's weights, normalised to sum 1, to the entries of its experts.
  fileprivate func addShares(of token: Int, experts logical: [Int], to shares: inout [Double]) {
    let row = weights[token * topK..<(token + 1) * topK]
    let sum = row.reduce(0.0) { $0 + Double($1) }
    for (expert, weight) in zip(logical, row) {
      shares[expert] += sum > 0 ? Double(weight) / sum : 1 / Double(topK)
    }
  }
}
