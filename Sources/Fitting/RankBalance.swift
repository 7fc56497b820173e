// SPDX-License-Identifier: Apache-2.0

import Routing

/// Even ranks of an expert-parallel group instead of even experts: the busiest rank is what all
/// others wait for.
package struct RankBalance: Sendable, Hashable {
  /// Expert-parallel rank counts that are to be even together.
  package let counts: [Int]
  /// The busiest rank may carry 1 + slack times the mean.
  package let slack: Double
  /// Experts stay in their expert group, as every form but the prototype router needs it.
  package let keepsGroups: Bool

  /// Experts are placed by what the stock form's router does, not the prototype router.
  package let followsStock: Bool

  package init(
    counts: [Int], slack: Double, keepsGroups: Bool = true, followsStock: Bool = false
  ) {
    precondition(!counts.isEmpty && counts.allSatisfy { $0 > 0 } && slack >= 0)
    self.counts = counts
    self.slack = slack
    self.keepsGroups = keepsGroups
    self.followsStock = followsStock
  }

  /// The groups of places that experts may not leave.
  func groups(_ rule: RoutingRule) -> Int { keepsGroups ? rule.groups?.count ?? 1 : 1 }
}

/// What a rank fit did to a layer, in the order in which it was tried, and how even the ranks were
/// after each in half-samples of the fitted tokens.
package struct RankStage: Sendable, Hashable {
  package enum Means: Sendable, Hashable {
    case asIs
    case renumbering
    /// So many clones, then renumbered.
    case clones(Int)
    /// So many clones and selection biases of this strength, then renumbered.
    case biases(Double, clones: Int)
    /// All experts evened out, then renumbered: it costs less than what ranks alone would need.
    case evenExperts
  }

  package let means: Means
  /// Max/mean load over ranks, of the rank count where it is largest.
  package let imbalance: Double
  /// Of the layer's output on sampled tokens, by OutputDeviation.swift and relative; nil where it
  /// is the original's.
  package let error: Double?
}
