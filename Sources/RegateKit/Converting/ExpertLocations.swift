// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Fitting
import Foundation
import OrderedCollections
import Routing

/// The plan of an expert-parallel load balancer, for SGLang's `--init-expert-location`.
///
/// The file is one JSON object with one key, since SGLang passes every key on:
/// `physical_to_logical_map` [L][P], the expert in each physical place of each of the model's L
/// layers, dense ones included (where it means nothing), places of one rank after each other.
public struct ExpertLocations: Sendable {
  let path: String
  let ranks: Int
  let redundant: Int
  /// Max/mean over ranks, mean over layers: experts in order, and by the plan.
  let before: Double?
  let after: Double?

  static func write(
    _ load: ExpertLoad, of model: Model, ranks: Int, machines: Int, redundant: Int,
    to path: String, overwrite: Bool
  ) throws(RegateError) -> ExpertLocations {
    let layers = model.layout.layers
    guard let experts = layers.first?.rule.experts,
      layers.allSatisfy({ $0.rule.experts == experts })
    else {
      throw RegateError(
        .unsupported, file: model.checkpoint.path, "its layers have different numbers of experts")
    }
    let physical = experts + redundant
    let cluster = ExpertReplication.Cluster(
      physical: physical, groups: layers.first?.rule.groups?.count ?? 1, machines: machines,
      gpus: ranks)
    if let problem = cluster.problem(experts: experts) {
      throw RegateError(
        .refused, subject: "--eplb", problem, advice: "choose --ep, --nodes and --redundant anew")
    }
    var plans: [Int: [Int]] = [:]
    for (layer, load) in zip(layers, load.layers) {
      plans[layer.index] = ExpertReplication.plan(load: load, cluster: cluster)
    }
    let filler = (0..<physical).map { $0 % experts }
    let map = (0..<model.layout.layerCount).map { plans[$0] ?? filler }
    let json: JSONValue = [
      "physical_to_logical_map": .array(map.map { .array($0.map { .integer($0) }) })
    ]
    try AtomicFile.write(json.serialised(.compact), to: path, overwrite: overwrite)
    func mean(_ values: [Double?]) -> Double? {
      LayerStatistics(values, largestIsWorst: true).mean
    }
    return ExpertLocations(
      path: path, ranks: ranks, redundant: redundant,
      before: mean(
        load.layers.map { LoadMetrics.rankImbalance(load: $0, ranks: min(ranks, experts)) }),
      after: mean(
        zip(layers, load.layers).map { layer, load in
          plans[layer.index].flatMap {
            ExpertReplication.imbalance(plan: $0, load: load, gpus: ranks)
          }
        }))
  }

  var json: JSONValue {
    [
      "file": .string(path), "ranks": .integer(ranks), "redundant": .integer(redundant),
      "before": .optional(before), "after": .optional(after),
    ]
  }
}
