// SPDX-License-Identifier: Apache-2.0

import Routing

/// The loads that a layer's logical experts are to get, between their own and even ones; or, for
/// strengths below 0, as far from even ones.
struct LoadTargets {
  /// Shares of all assignments, [F].
  private let natural: [Double]
  private let even: [Double]
  private let copies: [Int]
  /// The largest share of one expert, which a token takes once.
  private let most: Double

  private static let rounds = 16

  /// `natural` [F] is the load with these numbers of copies [F] where nothing balances it.
  init(rule: RoutingRule, copies: [Int], natural: [Int]) {
    let total = Double(max(natural.reduce(0, +), 1))
    self.natural = natural.map { Double($0) / total }
    even = copies.map { Double($0) / Double(rule.experts) }
    self.copies = copies
    most = 1 / Double(rule.topK)
  }

  /// Shares [F] that sum to 1: the experts' own at strength 0, those of their copies at 1.
  func targets(strength: Double) -> [Double] {
    let targets = zip(natural, even).map { (1 - strength) * $0 + strength * $1 }
    return strength < 0 ? bounded(targets) : targets
  }

  /// Shares between 0 and what one expert can take that sum to 1 about.
  private func bounded(_ targets: [Double]) -> [Double] {
    (0..<Self.rounds).reduce(targets) { shares, _ in
      let positive = shares.map { max(0, $0) }
      let sum = positive.reduce(0, +)
      return positive.map { min($0 / sum, most) }
    }
  }

  /// The Gini over physical experts at the targets.
  func gini(strength: Double) -> Double {
    let loads = zip(targets(strength: strength), copies).flatMap { target, copies in
      [Double](repeating: target / Double(max(copies, 1)), count: copies)
    }
    return LoadMetrics.gini(loads) ?? 0
  }
}
