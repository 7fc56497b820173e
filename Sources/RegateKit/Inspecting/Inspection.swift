// SPDX-License-Identifier: Apache-2.0

public import Architectures
public import ByteStorage
import Checkpoints
import Inference
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
    /// Captures, or text and token ids that the model is run on; counted together.
    public var calibration: [String]
    public var tokens: TokenOptions
    public var imatrix: String?
    /// Expert-parallel rank counts to report.
    public var ranks: [Int]
    public var threads: Int
    /// Include the layers of multi-token prediction.
    public var mtp = false

    public init(
      checkpoint: String, calibration: [String] = [], tokens: TokenOptions = .init(),
      imatrix: String? = nil, ranks: [Int] = [], threads: Int
    ) {
      self.checkpoint = checkpoint
      self.calibration = calibration
      self.tokens = tokens
      self.imatrix = imatrix
      self.ranks = ranks
      self.threads = threads
    }
  }

  /// Reads the routers, and counts the load where something to count it on is given.
  public static func run(
    _ request: Request, progress: any ProgressSink
  ) throws(RegateError) -> Inspection {
    guard request.calibration.isEmpty || request.imatrix == nil else {
      throw RegateError(
        .refused, subject: "--imatrix",
        "load is taken either from a calibration set or from an imatrix",
        advice: "leave one of the two out")
    }
    let model = try Model.open(request.checkpoint, mtp: request.mtp)
    let counts = try request.imatrix.map { path throws(RegateError) in
      try ImatrixLoad(path: path, layout: model.layout)
    }
    let calibration =
      request.calibration.isEmpty
      ? nil : try Calibration(request.calibration, for: model, options: request.tokens)
    var loads: [LoadSummary]?
    if case .tokens(let set) = calibration { loads = try run(model, on: set, request, progress) }
    var layers: [Layer] = []
    var closest: (layer: Int, gate: Matrix, cosine: Double)?
    progress.begin("Inspecting routers", total: model.layout.layers.count)
    for (number, layer) in model.layout.layers.enumerated() {
      let router = try model.router(of: layer)
      var load = loads?[number]
      if case .captures(let captures) = calibration {
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
      loadSource: calibration.map(\.source) ?? counts.map { _ in "imatrix" },
      tokens: calibration?.tokens ?? counts?.tokens, warnings: model.warnings,
      closest: closest.map { ($0.layer, GateStatistics.cosines(of: $0.gate)) })
  }

  /// The load of every MoE layer in a pass of the model as it is.
  private static func run(
    _ model: Model, on tokens: TokenSet, _ request: Request, _ progress: any ProgressSink
  ) throws(RegateError) -> [LoadSummary] {
    let pass = try model.forwardPass(
      tokens, streams: 1, threads: request.threads, label: "Running the model",
      progress: progress)
    var loads: [LoadSummary] = []
    for layer in model.layout.layers {
      while pass.layer < layer.index { try pass.advance() }
      try pass.attention()
      let assignment = try model.router(of: layer).router
        .route(pass.routerInputs(stream: 0), threads: request.threads)
      loads.append(
        LoadSummary(assignment, experts: layer.rule.experts, ranks: request.ranks))
      // What comes after the last router changes no load.
      guard loads.count < model.layout.layers.count else { break }
      try pass.applyExperts([assignment])
    }
    progress.end()
    return loads
  }
}

extension Calibration {
  /// Where load comes from, in words.
  fileprivate var source: String {
    switch self {
    case .captures: "captured activations"
    case .tokens(let set): "a run of the model on \(set.sequences.count) sequences"
    }
  }
}
