// SPDX-License-Identifier: Apache-2.0

public import Architectures
public import ByteStorage
import Checkpoints
public import Routing
import Tensors

/// What the routers of a checkpoint look like, and how even the load is where it is known.
public struct Inspection: Sendable {
  /// One MoE layer.
  public struct Layer: Sendable {
    public let layer: MoELayer
    public let gate: GateStatistics
    public let load: LoadSummary?
  }

  public let path: String
  public let layout: ModelLayout
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
    /// Capture files; their tokens are counted together.
    public var captures: [String]
    public var imatrix: String?
    /// Expert-parallel rank counts to report.
    public var ranks: [Int]
    public var threads: Int

    public init(
      checkpoint: String, captures: [String] = [], imatrix: String? = nil, ranks: [Int] = [],
      threads: Int
    ) {
      self.checkpoint = checkpoint
      self.captures = captures
      self.imatrix = imatrix
      self.ranks = ranks
      self.threads = threads
    }
  }

  /// Reads the routers, and routes the captured tokens or reads the counts where given.
  public static func run(
    _ request: Request, progress: any ProgressSink
  ) throws(RegateError) -> Inspection {
    guard request.captures.isEmpty || request.imatrix == nil else {
      throw RegateError(
        .refused, subject: "--imatrix", "load is taken either from captures or from an imatrix",
        advice: "leave one of the two out")
    }
    let model = try Model.open(request.checkpoint)
    let counts = try request.imatrix.map { path throws(RegateError) in
      try ImatrixLoad(path: path, layout: model.layout)
    }
    let captures =
      request.captures.isEmpty ? nil : try Captures(request.captures, for: model)
    var layers: [Layer] = []
    var closest: (layer: Int, gate: Matrix, cosine: Double)?
    progress.begin("Inspecting routers", total: model.layout.layers.count)
    for layer in model.layout.layers {
      let router = try model.router(of: layer)
      var load: LoadSummary?
      if let captures {
        let inputs = try captures.inputs(layer: layer.index)
        load = LoadSummary(
          router.router.route(inputs, threads: request.threads), experts: layer.rule.experts,
          ranks: request.ranks)
      } else if let counts {
        load = LoadSummary(load: try counts.load(of: layer.index), ranks: request.ranks)
      }
      let statistics = try router.statistics()
      if let cosine = statistics.maxCosine, cosine > closest?.cosine ?? -.infinity {
        closest = (layer.index, router.gate, cosine)
      }
      layers.append(Layer(layer: layer, gate: statistics, load: load))
      progress.advance(1)
    }
    progress.end()
    return Inspection(
      path: request.checkpoint, layout: model.layout, layers: layers,
      loadSource: captures.map { _ in "captured activations" } ?? counts.map { _ in "imatrix" },
      tokens: captures?.tokens ?? counts?.tokens, warnings: model.warnings,
      closest: closest.map { ($0.layer, GateStatistics.cosines(of: $0.gate)) })
  }
}
