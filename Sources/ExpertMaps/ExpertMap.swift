// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
public import Checkpoints
import Measures
import OrderedCollections
import Routing

/// Which expert lies in each physical place of every MoE layer, and what that does to the ranks of
/// an expert-parallel group.
public struct ExpertMap: Sendable, Hashable, JSONRepresentable {
  /// Max/mean load over ranks, mean over layers: experts in order, and by the map.
  public struct Imbalance: Sendable, Hashable {
    /// Ranks of the group.
    public let ranks: Int
    /// With the experts in order; nil where no token was counted.
    public let before: Double?
    /// By the map; nil where no token was counted.
    public let after: Double?
  }

  /// [layers][P], P >= E: the expert in each place, places of one rank after each other. With P = E
  /// the map is a renumbering.
  public let layers: [[Int]]
  /// For each rank count.
  public let imbalance: [Imbalance]

  /// The renumbering of every layer that balances the rank counts `ranks` together. `groups` are
  /// the expert groups of each layer: experts stay in their group, groups may move as a whole.
  package static func renumbering(
    load: [[Int]], groups: [Int], ranks: [Int]
  ) throws(RegateError) -> ExpertMap {
    let experts = load.map(\.count).min() ?? 1
    let ranks = ranks.filter { $0 <= experts }
    guard !ranks.isEmpty else {
      throw RegateError(
        .refused, subject: "`ranks`", "no rank count is at most \(experts), the number of experts")
    }
    let layers = zip(load, groups).map {
      Placement.balanced(load: $0, groups: $1, ranks: ranks)
    }
    return ExpertMap(
      layers: layers,
      imbalance: ranks.map { count in
        Imbalance(
          ranks: count,
          before: mean(load.map { LoadMetrics.rankImbalance(load: $0, ranks: count) }),
          after: mean(
            zip(layers, load).map { order, load in
              LoadMetrics.rankImbalance(load: order.map { load[$0] }, ranks: count)
            }))
      })
  }

  /// A map with `redundant` more places than experts in each layer, by DeepSeek's load balancer,
  /// for `ranks` ranks on `machines` machines. All layers must have the same number of experts.
  package static func replicating(
    load: [[Int]], groups: Int, ranks: Int, machines: Int, redundant: Int
  ) throws(RegateError) -> ExpertMap {
    let experts = load.first?.count ?? 0
    guard load.allSatisfy({ $0.count == experts }) else {
      throw RegateError(.unsupported, "the layers have different numbers of experts")
    }
    let cluster = ExpertReplication.Cluster(
      physical: experts + redundant, groups: groups, machines: machines, gpus: ranks)
    if let problem = cluster.problem(experts: experts) {
      throw RegateError(
        .refused, subject: "`map`", problem,
        advice: "choose `ranks`, `machines` and `redundant` anew")
    }
    let layers = load.map { ExpertReplication.plan(load: $0, cluster: cluster) }
    return ExpertMap(
      layers: layers,
      imbalance: [
        Imbalance(
          ranks: ranks,
          before: mean(
            load.map { LoadMetrics.rankImbalance(load: $0, ranks: min(ranks, experts)) }),
          after: mean(
            zip(layers, load).map {
              ExpertReplication.imbalance(plan: $0, load: $1, gpus: ranks)
            }))
      ])
  }

  private static func mean(_ values: [Double?]) -> Double? {
    LayerStatistics(values, largestIsWorst: true).mean
  }

  /// The map and its imbalances as one JSON object.
  public var json: JSONValue {
    [
      "physical_to_logical": .array(layers.map { .array($0.map { .integer($0) }) }),
      "rank_max_over_mean": imbalanceJSON,
    ]
  }

  /// Rank count to before and after.
  package var imbalanceJSON: JSONValue {
    var object: JSONValue = .object([:])
    for entry in imbalance {
      object[String(entry.ranks)] = [
        "before": .optional(entry.before), "after": .optional(entry.after),
      ]
    }
    return object
  }
}
