// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import OrderedCollections
public import Routing

/// The load of one layer's experts and what follows from it.
public struct LoadSummary: Sendable, JSONRepresentable {
  /// Batches of consecutive tokens whose imbalance is reported.
  private static let batchSizes = [256, 1024, 4096]

  /// Top-k assignments per physical expert [E].
  public let load: [Int]
  /// Balance of `load`.
  public let metrics: LoadMetrics
  /// Max/mean over expert-parallel ranks, by rank count.
  public let rankImbalance: [(ranks: Int, value: Double?)]
  /// Mean max/mean over batches of so many tokens; empty when only counts are known.
  public let batchImbalance: [(tokens: Int, value: Double?)]

  package init(load: [Int], ranks: [Int], batches: [(tokens: Int, value: Double?)] = []) {
    self.load = load
    metrics = LoadMetrics(load: load)
    rankImbalance = ranks.filter { $0 <= load.count }
      .map { ($0, LoadMetrics.rankImbalance(load: load, ranks: $0)) }
    batchImbalance = batches
  }

  package init(_ assignment: Assignment, experts: Int, ranks: [Int]) {
    self.init(
      load: assignment.load(experts: experts), ranks: ranks,
      batches: LoadSummary.batchSizes.map {
        ($0, assignment.batchImbalance(experts: experts, batch: $0))
      })
  }

  /// The load and its figures as one JSON object.
  public var json: JSONValue {
    var object: JSONValue = [
      "gini": .optional(metrics.gini), "min_max": .optional(metrics.minOverMax),
      "cv": .optional(metrics.coefficientOfVariation),
      "max_over_mean": .optional(metrics.maxOverMean),
      "dead_experts": .integer(metrics.deadExperts),
      "normalised_entropy": .optional(metrics.normalisedEntropy),
      "load": .array(load.map { .integer($0) }),
    ]
    object["batch_max_over_mean"] = .byNumber(batchImbalance.map { ($0.tokens, $0.value) })
    object["rank_max_over_mean"] = .byNumber(rankImbalance.map { ($0.ranks, $0.value) })
    return object
  }
}
