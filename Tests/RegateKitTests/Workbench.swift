// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// A conversion in the making, whose parts a test changes one by one.
struct ConversionDraft {
  var checkpoint: String
  /// What is fitted to, unless `fit` is there.
  var sets: CalibrationSets
  var budget = Budget.strength(1)
  var settings = FitSettings()
  /// Those that a fit is of; nil: all.
  var layers: LayerPart?
  /// A fit file.
  var fit: String?
  var output: Conversion.Output?
  var form: RouterForm?
  var overwrite = false
  var threads = 2
  var resume = ResumeOptions()

  init(_ checkpoint: String, calibration: [String], output: Conversion.Output? = nil) {
    self.checkpoint = checkpoint
    sets = CalibrationSets(calibration)
    self.output = output
  }

  /// A copy at `path`.
  init(_ checkpoint: String, calibration: [String], to path: String) {
    self.init(checkpoint, calibration: calibration, output: .checkpoint(.copy(to: path)))
  }

  var source: Conversion.Source {
    fit.map { .file($0) } ?? .traffic(sets, budget: budget, settings: settings, resume: resume)
  }

  /// `output`, which replaces what is there where `overwrite` says so.
  private var target: Conversion.Output? {
    switch output {
    case .checkpoint(.copy(let path, let links, _)):
      .checkpoint(.copy(to: path, links: links, overwrite: overwrite))
    case .checkpoint(.delta(let path, _)): .checkpoint(.delta(to: path, overwrite: overwrite))
    case .adapter(let path, let rank, _): .adapter(to: path, rank: rank, overwrite: overwrite)
    case .checkpoint(.inPlace), nil: output
    }
  }

  func plan() throws -> ConversionPlan {
    try ConversionPlan.run(
      .init(
        checkpoint: checkpoint, source: source, output: target, form: form, threads: threads))
  }

  func run(progress: any ProgressSink = NoProgress()) throws -> Conversion {
    try Conversion.run(
      .init(
        checkpoint: checkpoint, source: source, output: try #require(target), form: form,
        threads: threads), progress: progress)
  }

  /// The fit alone, written to `path` where there is one.
  func fit(to path: String? = nil) throws -> FitRun {
    try FitRun.run(
      .init(
        checkpoint: checkpoint, calibration: sets, budget: budget, settings: settings, form: form,
        layers: layers, threads: threads,
        output: path.map { .init($0, overwrite: overwrite, resume: resume) }))
  }

  /// A sweep of what the draft fits.
  func sweep(_ strengths: [Double] = Sweep.strengths) throws -> Sweep {
    try Sweep.run(
      .init(
        checkpoint: checkpoint, calibration: sets, strengths: strengths, settings: settings,
        form: form, threads: threads))
  }
}

/// A sample on disk with a capture, in a folder of its own.
struct Workbench {
  let directory: TemporaryDirectory
  let sample: Sample
  let model: SyntheticModel
  let seed: UInt64

  init(_ sample: Sample, seed: UInt64 = 1, tokens: Int = 1280, mtpLayers: Int = 0) throws {
    try self.init(sample, seed: seed, tokens: tokens, mtpLayers: mtpLayers, in: .init())
  }

  fileprivate init(
    _ sample: Sample, seed: UInt64, tokens: Int, mtpLayers: Int, in directory: TemporaryDirectory
  ) throws {
    self.directory = directory
    self.sample = sample
    self.seed = seed
    // FP8: two scale blocks in each direction, the second one cut off.
    model = SyntheticModel(
      sample.family, seed: seed, hidden: sample.isFP8 ? 144 : 64, width: sample.isFP8 ? 136 : 32,
      tokens: tokens, fp8: sample.isFP8, mtpLayers: mtpLayers)
    switch sample.storage {
    case .directory(let layout), .file(let layout):
      try model.writeSafetensors(layout, to: sourceFolder)
    case .gguf(let layout): try model.writeGGUF(layout, to: sourceFolder)
    }
    try model.writeCapture(to: directory.url)
  }

  /// A copy of `other` with all its outputs, for tests that change files.
  private init(copying other: Workbench) throws {
    directory = try TemporaryDirectory()
    (sample, model, seed) = (other.sample, other.model, other.seed)
    try FileManager.default.removeItem(at: directory.url)
    try FileManager.default.copyItem(at: other.directory.url, to: directory.url)
  }

  /// The checkpoint's path.
  var source: String {
    switch sample.storage {
    case .directory: directory.path("source")
    case .file: directory.path("source/model.safetensors")
    case .gguf(let layout):
      directory.path("source/model\(layout.split ? "-00001-of-00002" : "").gguf")
    }
  }

  var capture: String { directory.path("capture.safetensors") }

  var isGGUF: Bool { sample.isGGUF }

  var sourceFolder: URL { directory.url.appending(path: "source") }

  /// An output path of the container's kind.
  func output(_ name: String) -> String {
    guard isGGUF else { return directory.path(name) }
    // A folder for each, so that its files are all of the output.
    try? FileManager.default.createDirectory(
      atPath: directory.path(name), withIntermediateDirectories: false)
    return directory.path(name + "/out.gguf")
  }

  /// The path of an output's first file.
  func first(_ name: String) -> String {
    let path = output(name)
    guard isGGUF, !FileManager.default.fileExists(atPath: path) else { return path }
    return path.replacingOccurrences(of: ".gguf", with: "-00001-of-00002.gguf")
  }

  func folder(_ name: String) -> URL { directory.url.appending(path: name) }

  /// The bytes of a file of that name.
  func bytes(_ name: String) throws -> Data { try Data(contentsOf: folder(name)) }

  var draft: ConversionDraft { ConversionDraft(source, calibration: [capture]) }

  /// Converts to a copy called `name`, or to what `change` says.
  @discardableResult
  func convert(
    to name: String?, progress: any ProgressSink = NoProgress(),
    _ change: (inout ConversionDraft) throws -> Void = { _ in }
  ) throws -> Conversion {
    var draft = draft
    draft.output = name.map { .checkpoint(.copy(to: output($0))) }
    try change(&draft)
    return try draft.run(progress: progress)
  }

  /// Compares an output, by default with this sample's capture.
  func validate(_ name: String, ranks: [Int] = [], mtp: Bool = false) throws -> Validation {
    try Validation.run(
      .init(
        original: source, patched: first(name), calibration: [capture], ranks: ranks, mtp: mtp,
        threads: 2))
  }

  // MARK: Shared outputs

  private static let shared = Shared<Workbench>()

  /// `sample` with a copy `out` in the container's default form, fitted to its capture at strength
  /// 1; converted once in a test run, and not to be changed by any test.
  static func converted(_ sample: Sample) throws -> Workbench {
    try shared.value(sample.description) {
      let bench = try Workbench(
        sample, seed: 1, tokens: 1280, mtpLayers: 0, in: .init(untilExit: true))
      let result = try bench.convert(to: "out")
      try result.fit.write(to: bench.fit)
      return bench
    }
  }

  /// The fit file of the output `out` of `converted`.
  var fit: String { directory.path("out.fit") }

  /// A copy of this one, for a test that changes files.
  func copy() throws -> Workbench { try Workbench(copying: self) }

  /// The weights of the original, or of an output.
  func weights(_ name: String = "source") throws -> PlainCheckpoint {
    let folder = folder(name)
    guard isGGUF else { return try PlainCheckpoint(safetensors: folder) }
    let files = try FileManager.default.contentsOfDirectory(
      atPath: folder.path(percentEncoded: false))
    return try PlainCheckpoint(
      gguf: files.filter { $0.hasSuffix(".gguf") }.sorted().map { folder.appending(path: $0) })
  }

  /// `regate.json` of an output.
  func manifest(_ name: String) throws -> JSONValue {
    let file = isGGUF ? "out.regate.json" : "regate.json"
    return try JSONValue(contentsOf: folder(name).appending(path: file).path(percentEncoded: false))
  }

  /// Which logical expert each physical one holds by an output's manifest, per MoE layer.
  func claimedMaps(_ name: String) throws -> [[Int]] {
    (try manifest(name)["layers"]?.arrayValue ?? []).map {
      ($0["physical_to_logical"]?.arrayValue ?? []).compactMap(\.intValue)
    }
  }
}

extension SyntheticModel {
  /// What a tensor is in this model, told by its name.
  enum Part: Equatable {
    case router(layer: Int)
    /// One expert's own.
    case expert(layer: Int, Int, part: String)
    /// All experts', the first dimension is E.
    case experts(layer: Int)
    case other
  }

  func part(_ name: String) -> Part {
    let words = name.split(separator: ".").map(String.init)
    guard words.count > 2 else { return .other }
    if words[0] == "blk", let layer = Int(words[1]) {
      if words[2] == "ffn_gate_inp" || words[2] == "exp_probs_b" { return .router(layer: layer) }
      return words[2].hasSuffix("_exps") ? .experts(layer: layer) : .other
    }
    guard words.count > 4, let layer = Int(words[2]) else { return .other }
    if words[4] == "gate" { return .router(layer: layer) }
    guard words[4] == "experts" else { return .other }
    guard let number = Int(words[5]) else { return .experts(layer: layer) }
    return .expert(layer: layer, number, part: words[6...].joined(separator: "."))
  }

  /// Everything that belongs to each expert of a layer, by part; `count`: how many are left.
  func experts(
    of layer: Int, in weights: PlainCheckpoint, count: Int? = nil
  ) -> [[String: [UInt8]]] {
    let experts = count ?? self.experts
    var result = [[String: [UInt8]]](repeating: [:], count: experts)
    for (name, tensor) in weights.tensors {
      switch part(name) {
      case .expert(layer, let number, let part): result[number][part] = tensor.bytes
      case .experts(layer):
        let size = tensor.bytes.count / experts
        for number in 0..<experts {
          result[number][name] = Array(tensor.bytes[number * size..<(number + 1) * size])
        }
      default: break
      }
    }
    return result
  }
}
