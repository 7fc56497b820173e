// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
import Forms
public import Measures
public import Routing
import Tensors
public import Traffic

/// What the routers of a checkpoint look like, and how even the load is where it is known.
public struct Inspection: Report {
  /// One MoE layer.
  public struct Layer: Sendable {
    let layer: MoELayer
    /// Row norms, cosines and rank of the router.
    public let gate: GateStatistics
    /// nil where no load was asked for.
    public let load: LoadSummary?

    /// The model's number of the layer.
    public var index: Int { layer.index }
    /// E.
    public var experts: Int { layer.rule.experts }
    /// K.
    public var topK: Int { layer.rule.topK }
  }

  public let path: String
  let layout: ModelLayout
  /// The family's name, as in `config.json` or the GGUF's architecture.
  public var family: String { layout.family.name }
  public let layers: [Layer]
  /// Where load figures come from, in words; nil without.
  public let loadSource: String?
  /// Tokens that the load was counted on.
  public let tokens: Int?
  public let warnings: [String]
  /// The cosines of all pairs of gate rows in the layer that has the most similar pair.
  let closest: (layer: Int, cosines: Matrix)?

  /// What an inspection is asked for.
  public struct Request: Sendable {
    public var checkpoint: String
    /// nil: only the routers are read.
    public var load: LoadRequest?
    /// Expert-parallel rank counts to report.
    public var ranks: [Int]
    /// Include the layers of multi-token prediction.
    public var mtp: Bool
    public var threads: Int

    public init(
      checkpoint: String, load: LoadRequest? = nil, ranks: [Int] = [], mtp: Bool = false,
      threads: Int = Threads.all
    ) {
      self.checkpoint = checkpoint
      self.load = load
      self.ranks = ranks
      self.mtp = mtp
      self.threads = threads
    }
  }

  /// Reads the routers, and takes the load from where it is known.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> Inspection {
    let model = try Model.open(request.checkpoint, mtp: request.mtp)
    try model.requireRanks(request.ranks)
    guard request.load != nil || request.ranks.isEmpty else {
      throw RegateError(
        .refused, subject: "`ranks`", "are about a load, and none is given",
        advice: "give `calibration` or `counts` too")
    }
    let load = try request.load.map { (source) throws(RegateError) in
      try source.load(
        of: model, ranks: request.ranks, threads: request.threads, progress: progress)
    }
    var layers: [Layer] = []
    var closest: (layer: Int, gate: Matrix, cosine: Double)?
    progress.begin("Inspecting routers", total: model.layout.layers.count)
    for (number, layer) in model.layout.layers.enumerated() {
      let router = try model.router(of: layer)
      let statistics = try router.statistics()
      if let cosine = statistics.maxCosine, cosine > closest?.cosine ?? -.infinity {
        closest = (layer.index, router.gate, cosine)
      }
      layers.append(Layer(layer: layer, gate: statistics, load: load?.layers[number]))
      progress.advance(1)
    }
    progress.end()
    return Inspection(
      path: request.checkpoint, layout: model.layout, layers: layers, loadSource: load?.source,
      tokens: load?.tokens, warnings: model.warnings,
      closest: closest.map { ($0.layer, GateStatistics.cosines(of: $0.gate)) })
  }
}
