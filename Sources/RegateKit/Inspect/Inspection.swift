// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
import Forms
public import Measures
public import Routing
public import Tensors
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
    /// What turns a logit into a score: softmax, sigmoid, softmax_of_selected, sparse_mixer or
    /// sqrt_softplus.
    public var scoring: String { layer.rule.scoring.rawValue }
    /// Whether the chosen weights are divided by their sum.
    public var normalises: Bool { layer.rule.normalise }
    /// Multiplies the chosen weights, after that.
    public var scale: Double { Double(layer.rule.scale) }
    /// nil where experts are chosen among all.
    public var groups: Groups? {
      layer.rule.groups.map {
        Groups(count: $0.count, kept: $0.kept, score: $0.score.rawValue)
      }
    }
    /// Experts that every token goes through.
    public var sharedExperts: Int { layer.sharedExperts }
    /// I, the inner width of one expert.
    public var expertWidth: Int { layer.expertWidth }
    /// The tensor that holds the gate.
    public var router: String { layer.gate.name }
    /// The type that the gate is stored in.
    public var routerType: ElementType { layer.routerType }
    /// The gate's shape as it is stored.
    public var routerShape: [Int] { layer.gate.shape }
  }

  /// Groups of consecutive experts, of which each token may use some.
  public struct Groups: Sendable, Hashable {
    /// Groups of equal size.
    public let count: Int
    /// Groups that a token may use.
    public let kept: Int
    /// A group's score: max, or top_two_sum of its scores.
    public let score: String
  }

  /// Path of the checkpoint, as it was given.
  public let path: String
  let layout: ModelLayout
  /// The family's name, as in `config.json` or the GGUF's architecture.
  public var family: String { layout.family.name }
  /// safetensors or gguf.
  public var container: String { layout.container.rawValue }
  /// H.
  public var hiddenSize: Int { layout.hiddenSize }
  /// Layers of the model, dense ones included.
  public var layerCount: Int { layout.layerCount }
  /// Gates of multi-token prediction that are not among `layers`, by name.
  public var extraRouters: [String] { layout.extraRouters.map(\.gate.name) }
  /// The MoE layers, in their order.
  public let layers: [Layer]
  /// Where load figures come from, in words; nil without.
  public let loadSource: String?
  /// Tokens that the load was counted on.
  public let tokens: Int?
  /// Every two of several files of counts beside each other.
  public let comparisons: [LoadComparison]
  /// Tells these routers from all others, so that the load is taken for no other model; nil for
  /// prototype routers.
  public let routerFingerprint: String?
  /// What should be known of the checkpoint before relying on it, one sentence each.
  public let warnings: [String]
  /// The cosines of all pairs of gate rows in the layer that has the most similar pair.
  let closest: (layer: Int, cosines: Matrix)?

  /// What an inspection is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// nil: only the routers are read.
    public var load: LoadRequest?
    /// Expert-parallel rank counts to report.
    public var ranks: [Int]
    /// Include the layers of multi-token prediction.
    public var mtp: Bool
    /// Threads to work on; the result does not depend on it.
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
    let model = try Model.open(
      request.checkpoint, mtp: request.mtp, precision: request.load?.precision ?? .auto)
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
      try progress.requireWanted()
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
      tokens: load?.tokens, comparisons: model.comparisons(load?.parts ?? []),
      routerFingerprint: try model.routerFingerprint(), warnings: model.warnings,
      closest: closest.map { ($0.layer, GateStatistics.cosines(of: $0.gate)) })
  }
}

extension Model {
  fileprivate func comparisons(_ parts: [ExpertLoad.Part]) -> [LoadComparison] {
    parts.indices.flatMap { first in
      parts.indices.dropFirst(first + 1).map { second in
        LoadComparison(
          names: [parts[first].name, parts[second].name],
          loads: [parts[first].load, parts[second].load], indices: layout.layers.map(\.index))
      }
    }
  }
}
