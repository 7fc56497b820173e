// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Inference
import OrderedCollections
import Routing

/// How many tokens each expert of the original gets, per MoE layer.
struct ExpertLoad: Sendable {
  /// [layers][E]
  let layers: [[Int]]

  /// Exact counts of llama.cpp.
  init(imatrix path: String, for model: Model) throws(RegateError) {
    let counts = try ImatrixLoad(path: path, layout: model.layout)
    var layers: [[Int]] = []
    for layer in model.layout.layers { layers.append(try counts.load(of: layer.index)) }
    self.layers = layers
  }

  /// Counted on a calibration set, running the model where it is text.
  init(
    _ calibration: Calibration, of model: Model, threads: Int, progress: any ProgressSink
  ) throws(RegateError) {
    var layers: [[Int]] = []
    switch calibration {
    case .captures(let captures):
      for layer in model.layout.layers {
        let assignment = try model.router(of: layer).router.route(
          captures.inputs(layer: layer.index), threads: threads)
        layers.append(assignment.load(experts: layer.rule.experts))
      }
    case .tokens(let tokens):
      let pass = try model.forwardPass(
        tokens, streams: 1, threads: threads, label: "Counting", progress: progress)
      while pass.layer < model.layout.layerCount {
        try pass.attention()
        guard let layer = pass.moeLayer else {
          try pass.applyDense()
          continue
        }
        let assignment = pass.route(try pass.originalRouter(), stream: 0)
        layers.append(assignment.load(experts: layer.rule.experts))
        // The last layer's output is not needed.
        if layers.count == model.layout.layers.count { break }
        _ = try pass.applyExperts([assignment], functions: [nil], measuringError: false)
      }
      progress.end()
    }
    self.layers = layers
  }
}

/// A renumbering of every layer, and what it does to the ranks.
struct ModelPlacement: Sendable {
  /// For each MoE layer and new slot, the slot before [layers][E].
  let layers: [[Int]]
  /// Max/mean over ranks, mean over layers, by rank count.
  let imbalance: [(ranks: Int, before: Double?, after: Double?)]

  /// Renumbers by `plan` and reports what that does to each of `ranks`.
  init(_ load: [[Int]], model: Model, ranks: [Int], plan: (_ layer: Int, _ load: [Int]) -> [Int]) {
    var layers: [[Int]] = []
    for (index, load) in load.enumerated() { layers.append(plan(index, load)) }
    self.layers = layers
    imbalance = ranks.map { count in
      func mean(_ loads: [[Int]]) -> Double? {
        LayerStatistics(
          loads.map { LoadMetrics.rankImbalance(load: $0, ranks: count) }, largestIsWorst: true
        ).mean
      }
      let after = zip(layers, load).map { placement, load in placement.map { load[$0] } }
      return (count, mean(load), mean(after))
    }
  }

  /// The imbalances as JSON: rank count to before and after.
  var json: JSONValue {
    var object: JSONValue = .object([:])
    for entry in imbalance {
      object[String(entry.ranks)] = [
        "before": .optional(entry.before), "after": .optional(entry.after),
      ]
    }
    return object
  }
}
