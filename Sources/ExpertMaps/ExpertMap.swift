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
  /// Places beyond the experts in which a runtime puts experts once more: in the map itself, or,
  /// for a renumbering, at its start.
  public let redundant: Int
  /// For each rank count.
  public let imbalance: [Imbalance]

  /// Loads [layers][E]: what a map is made from, and what its imbalance is told on.
  package struct Loads: Sendable {
    package let planned: [[Int]]
    /// The planned loads of runs of consecutive tokens, [layers][N][E]; nil where only totals are
    /// known.
    package let runs: [[[Int]]]?
    package let judged: [[Int]]

    package init(planned: [[Int]], runs: [[[Int]]]? = nil, judged: [[Int]]? = nil) {
      self.planned = planned
      self.runs = runs
      self.judged = judged ?? planned
    }
  }

  /// The renumbering of every layer that balances the rank counts `ranks` together. `groups` are
  /// the expert groups of each layer: experts stay in their group, groups may move as a whole. With
  /// `redundant` places it is for a runtime that fills them at its start (see `StartingReplicas`).
  package static func renumbering(
    _ loads: Loads, groups: [Int], ranks: [Int], redundant: Int = 0
  ) throws(RegateError) -> ExpertMap {
    let experts = loads.planned.map(\.count).min() ?? 1
    let ranks = ranks.filter { $0 <= experts }
    guard !ranks.isEmpty else {
      throw RegateError(
        .refused, subject: "`ranks`", "no rank count is at most \(experts), the number of experts")
    }
    guard redundant > 0 else {
      let layers = groups.enumerated().map { number, groups in
        order(loads.planned[number], loads.runs?[number], groups: groups, ranks: ranks)
      }
      return ExpertMap(layers, loads, ranks: ranks) { load, order, count in
        LoadMetrics.rankImbalance(load: order.map { load[$0] }, ranks: count)
      }
    }
    for (count, load) in ranks.flatMap({ count in loads.planned.map { (count, $0) } }) {
      try require(
        ExpertReplication.Cluster(physical: load.count + redundant, gpus: count), load.count,
        advice: "choose `ranks` and `redundant` anew")
    }
    let layers = zip(loads.planned, groups).map { load, groups in
      StartingReplicas(experts: load.count, redundant: redundant, groups: groups)
        .balanced(load: load, ranks: ranks)
    }
    return ExpertMap(layers, loads, ranks: ranks, redundant: redundant) { load, order, count in
      ExpertReplication.imbalance(
        plan: StartingReplicas.places(order, redundant: redundant), load: load, gpus: count)
    }
  }

  /// The expert in each place. Loads of `runs` say what stays even on other texts, and what gains
  /// so little that it is not worth writing.
  private static func order(
    _ load: [Int], _ runs: [[Int]]?, groups: Int, ranks: [Int]
  ) -> [Int] {
    guard let runs else { return Placement.balanced(load: load, groups: groups, ranks: ranks) }
    let steady = SteadyPlacement(runs: runs, groups: groups, ranks: ranks)
    let (asIs, order) = (Array(load.indices), steady.order(load: load))
    let gains = zip(steady.imbalances(asIs), steady.imbalances(order)).map { $0 - $1 }
    return gains.reduce(0, +) < leastGain ? asIs : order
  }

  /// Of max/mean, summed over the rank counts, for which a layer is renumbered.
  private static let leastGain = 0.01

  /// A map with `redundant` more places than experts in each layer, by DeepSeek's load balancer,
  /// for `ranks` ranks on `machines` machines. All layers must have the same number of experts.
  /// `apart`: no rank holds an expert twice.
  package static func replicating(
    _ loads: Loads, groups: Int, ranks: Int, machines: Int, redundant: Int, apart: Bool = false
  ) throws(RegateError) -> ExpertMap {
    let experts = loads.planned.first?.count ?? 0
    guard loads.planned.allSatisfy({ $0.count == experts }) else {
      throw RegateError(.unsupported, "the layers have different numbers of experts")
    }
    let cluster = ExpertReplication.Cluster(
      physical: experts + redundant, groups: groups, machines: machines, gpus: ranks)
    try require(cluster, experts, advice: "choose `ranks`, `machines` and `redundant` anew")
    var layers: [[Int]] = []
    for (number, load) in loads.planned.enumerated() {
      let plan = ExpertReplication.plan(load: load, cluster: cluster)
      guard apart else {
        layers.append(plan)
        continue
      }
      guard let separate = ExpertReplication.separated(plan, load: load, cluster: cluster) else {
        throw RegateError(
          .refused, subject: "`redundant`",
          "layer \(number) of the map has more replicas of an expert than ranks, and the format "
            + "holds one of each on a rank",
          advice: "choose fewer redundant experts, or more ranks")
      }
      layers.append(separate)
    }
    return ExpertMap(layers, loads, ranks: [ranks], redundant: redundant) { load, plan, count in
      ExpertReplication.imbalance(plan: plan, load: load, gpus: count)
    }
  }

  private static func require(
    _ cluster: ExpertReplication.Cluster, _ experts: Int, advice: String
  ) throws(RegateError) {
    guard let problem = cluster.problem(experts: experts) else { return }
    let asked = cluster.physical > experts ? "`redundant`" : "`ranks`"
    throw RegateError(.refused, subject: asked, problem, advice: advice)
  }

  private init(
    _ layers: [[Int]], _ loads: Loads, ranks: [Int], redundant: Int = 0,
    _ after: (_ load: [Int], _ layer: [Int], _ ranks: Int) -> Double?
  ) {
    self.layers = layers
    self.redundant = redundant
    imbalance = ranks.map { count in
      Imbalance(
        ranks: count,
        before: Self.mean(
          loads.judged.map { LoadMetrics.rankImbalance(load: $0, ranks: min(count, $0.count)) }),
        after: Self.mean(zip(loads.judged, layers).map { after($0, $1, count) }))
    }
  }

  private static func mean(_ values: [Double?]) -> Double? {
    LayerStatistics(values, largestIsWorst: true).mean
  }

  /// The map and its imbalances as one JSON object.
  public var json: JSONValue {
    [
      "physical_to_logical": .array(layers.map { .array($0.map { .integer($0) }) }),
      "redundant": .integer(redundant), "rank_max_over_mean": imbalanceJSON,
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
