// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections
public import Routing

/// The load of one layer's slots and what follows from it.
public struct LoadSummary: Sendable {
  /// Batches of consecutive tokens whose imbalance is reported.
  static let batchSizes = [256, 1024, 4096]

  /// Top-k assignments per slot on disk [E].
  public let load: [Int]
  public let metrics: LoadMetrics
  /// Max/mean over expert-parallel ranks, by rank count.
  public let rankImbalance: [(ranks: Int, value: Double?)]
  /// Mean max/mean over batches of so many tokens; empty when only counts are known.
  public let batchImbalance: [(tokens: Int, value: Double?)]

  init(load: [Int], ranks: [Int], batches: [(tokens: Int, value: Double?)] = []) {
    self.load = load
    metrics = LoadMetrics(load: load)
    rankImbalance = ranks.filter { $0 <= load.count }
      .map { ($0, LoadMetrics.rankImbalance(load: load, ranks: $0)) }
    batchImbalance = batches
  }

  init(_ assignment: Assignment, experts: Int, ranks: [Int]) {
    self.init(
      load: assignment.load(experts: experts), ranks: ranks,
      batches: LoadSummary.batchSizes.map {
        ($0, assignment.batchImbalance(experts: experts, batch: $0))
      })
  }

  var json: JSONValue {
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

/// Mean, worst and 90th percentile of one figure over layers.
struct LayerStatistics: Sendable {
  let mean: Double?
  let worst: Double?
  let p90: Double?

  /// `values` of all layers; `largestIsWorst` tells the direction. Undefined values are left out.
  init(_ values: [Double?], largestIsWorst: Bool) {
    let known = values.compactMap { $0 }.sorted { largestIsWorst ? $0 < $1 : $0 > $1 }
    guard !known.isEmpty else {
      mean = nil
      worst = nil
      p90 = nil
      return
    }
    mean = known.reduce(0, +) / Double(known.count)
    worst = known[known.count - 1]
    // Nearest rank: the smallest value that at least 90 % of the layers do not exceed.
    p90 = known[max(0, (known.count * 9 + 9) / 10 - 1)]
  }
}

extension JSONValue {
  /// A number, or null where it is undefined.
  static func optional(_ value: Double?) -> JSONValue {
    value.map { $0.isFinite ? .number($0) : .null } ?? .null
  }

  static func optional(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }

  /// An object from numbers, written as text, to values.
  static func byNumber(_ pairs: [(Int, Double?)]) -> JSONValue {
    var object: JSONValue = .object([:])
    for (number, value) in pairs { object[String(number)] = .optional(value) }
    return object
  }
}
