// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
public import CheckpointWriting
import Checkpoints
public import ExpertMaps
import Forms
import Measures
import OrderedCollections
import Reports
import Routing
import Runtimes
import Tensors
public import Traffic

/// Renumbers the experts of a checkpoint so that expert-parallel ranks carry equal load, or plans
/// that for a runtime. Nothing is lost: the model computes what it did. Any checkpoint will do,
/// also one that Regate wrote.
public struct PlacementRun: Report {
  /// What is written.
  public enum Output: Sendable, Hashable {
    /// A checkpoint whose experts are renumbered.
    case checkpoint(Sink)
    /// A map for a runtime that moves the experts itself, for the largest of the rank counts, on so
    /// many machines. `overwrite` replaces a file.
    case map(ExpertMapFormat, to: String, machines: Int = 1, overwrite: Bool = false)
  }

  /// What a placement is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// Where the load of the experts comes from.
    public var load: LoadRequest
    /// Expert-parallel rank counts that a renumbering balances together.
    public var ranks: [Int]
    /// What is written.
    public var output: Output
    /// Places beyond the experts that the runtime fills with copies of busy ones: a map says with
    /// which; for a checkpoint they are the first experts, as vLLM starts.
    public var redundant: Int
    /// Include the layers of multi-token prediction.
    public var mtp: Bool
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      checkpoint: String, load: LoadRequest, ranks: [Int], output: Output, redundant: Int = 0,
      mtp: Bool = false, threads: Int = Threads.all
    ) {
      self.checkpoint = checkpoint
      self.load = load
      self.ranks = ranks
      self.output = output
      self.redundant = redundant
      self.mtp = mtp
      self.threads = threads
    }
  }

  /// Where the experts go, and what that does to the ranks.
  public let map: ExpertMap
  /// Where the load comes from, in words.
  public let loadSource: String
  /// Tokens that were counted, and that the placement was made for.
  public let tokens: Int
  /// Other tokens, which the imbalances of `map` are told on; nil where there are none, and they
  /// are told on the same.
  public let heldOutTokens: Int?
  /// nil for a runtime's map.
  public let written: Written?
  /// A runtime's map.
  public let mapFile: MapFile?

  /// A map that was written.
  public struct MapFile: Sendable, Hashable {
    /// Its format.
    public let format: ExpertMapFormat
    /// Where it lies.
    public let path: String
  }
  /// Wall-clock seconds.
  public let seconds: Double

  /// Counts the load, makes the map, and writes.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> PlacementRun {
    let start = ContinuousClock.now
    let model = try Model.open(
      request.checkpoint, mtp: request.mtp, precision: request.load.precision)
    progress.warn(of: model)
    if case .checkpoint = request.output { try model.requireConvertible() }
    let target = try request.claimed(model)
    if let path = request.output.path { progress.warnOfLeftovers(beside: path) }
    if case .map(.sglang, _, _, _) = request.output, !model.layout.family.takesSGLangMaps {
      progress.warn(
        "SGLang's class of \(model.layout.family.title) takes no map of where experts lie: "
          + "--init-expert-location does nothing; renumber the checkpoint instead, with `output`")
    }
    let load = try request.load.load(
      of: model, ranks: request.ranks, holdingOut: true, threads: request.threads,
      progress: progress)
    let loads = ExpertMap.Loads(
      planned: load.layers.map(\.load), runs: load.runs, judged: load.heldOut?.load)
    let map: ExpertMap
    var written: Written?
    var mapFile: MapFile?
    switch target {
    case .checkpoint(let sink):
      map = try ExpertMap.renumbering(
        loads, groups: model.movableGroups, ranks: request.ranks, redundant: request.redundant)
      written = try request.write(map, source: load.source, of: model, to: sink, progress)
    case .map(let format, let claim, let machines):
      let ranks = request.ranks.max() ?? 1
      map = try ExpertMap.replicating(
        loads, groups: model.layout.layers.first?.rule.groups?.count ?? 1, ranks: ranks,
        machines: machines, redundant: request.redundant, apart: format.file.keepsReplicasApart)
      try AtomicFile.write(
        format.file.bytes(
          map, ranks: ranks, layerCount: model.layout.layerCount,
          indices: model.layout.layers.map(\.index)), to: claim)
      mapFile = MapFile(format: format, path: claim.path)
    }
    return PlacementRun(
      map: map, loadSource: load.source, tokens: load.tokens, heldOutTokens: load.heldOut?.tokens,
      written: written, mapFile: mapFile, seconds: Duration.seconds(since: start))
  }
}

extension PlacementRun.Output {
  /// The path of what is written; nil in place.
  fileprivate var path: String? {
    switch self {
    case .checkpoint(let sink): sink.path
    case .map(_, let path, _, _): path
    }
  }
}

/// An output with the leave to write it.
private enum ClaimedOutput {
  case checkpoint(ClaimedSink)
  case map(ExpertMapFormat, OutputClaim, machines: Int)
}

extension PlacementRun.Request {
  /// Refuses, before any long work, what cannot be written.
  fileprivate func claimed(_ model: Model) throws(RegateError) -> ClaimedOutput {
    guard !ranks.isEmpty, ranks.allSatisfy({ $0 > 0 }) else {
      throw RegateError(
        .refused, subject: "`ranks`", "are \(ranks), expected numbers above 0")
    }
    guard (0...65_536).contains(redundant) else {
      throw RegateError(
        .refused, subject: "`redundant`", "is \(redundant), expected 0 to 65536")
    }
    let inputs = RunInputs(model.checkpoint, load.files)
    switch output {
    case .checkpoint(let sink):
      try model.requireRanks(ranks)
      try model.requireMovableExperts(advice: "let the runtime move them: write a map for it")
      return .checkpoint(
        try sink.claimed(for: model, severalFiles: false, apartFrom: inputs))
    case .map(let format, let path, let machines, let overwrite):
      guard machines > 0 else {
        throw RegateError(
          .refused, subject: "`machines`", "is \(machines), expected 1 or more")
      }
      if let ending = format.file.nameEnding, !path.hasSuffix(ending) {
        throw RegateError(
          .refused, file: path, subject: "`map`",
          "\(format.rawValue) reads a map only from a file whose name ends in \(ending)",
          advice: "add \(ending) to the name")
      }
      guard format != .sglang || !model.layout.hasPrototypeRouter else {
        throw RegateError(
          .refused, file: model.checkpoint.path, subject: "`map`",
          "SGLang's Transformers backend loads the experts of a prototype router where the map puts "
            + "them, routes by the old numbers and computes with wrong ones in silence",
          advice: "renumber the checkpoint with `output` instead")
      }
      guard !mtp else {
        throw RegateError(
          .refused, subject: "`mtp`", "a map is for the model's own layers",
          advice: "leave `mtp` out")
      }
      return .map(
        format,
        try OutputClaim(path, as: .expertMap, overwrite: overwrite, apartFrom: inputs),
        machines: machines)
    }
  }

  fileprivate func write(
    _ map: ExpertMap, source: String, of model: Model, to sink: ClaimedSink,
    _ progress: any ProgressSink
  ) throws(RegateError) -> Written {
    let patches = try model.patches(renumbering: map.layers)
    return try OutputWriter(
      model: model, patches: patches,
      manifest: Manifest(.placement(map, source: source), of: model, patches: patches),
      threads: threads, progress: progress
    ).write(to: sink)
  }
}
