// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// No progress.
struct Silent: ProgressSink {
  func begin(_ label: String, total: Int) {}
  func advance(_ count: Int) {}
  func end() {}
}

/// A family in one of the ways that it can lie on disk.
struct Sample: Sendable, CustomStringConvertible {
  enum Storage: Sendable {
    case directory(SyntheticModel.Layout)
    /// `model.safetensors`, named as the checkpoint.
    case file(SyntheticModel.Layout)
    case gguf(SyntheticModel.GGUFLayout)
  }

  let family: SyntheticModel.Family
  let storage: Storage

  var description: String {
    switch storage {
    case .directory(let layout): "\(family.rawValue), \(layout)"
    case .file(let layout): "\(family.rawValue) as a file, \(layout)"
    case .gguf(let layout): "\(family.rawValue), GGUF \(layout)"
    }
  }

  private static func directory(
    _ family: SyntheticModel.Family, _ layout: SyntheticModel.Layout
  ) -> Sample { Sample(family: family, storage: .directory(layout)) }

  private static func gguf(
    _ family: SyntheticModel.Family, _ type: PlainType, split: Bool = false
  ) -> Sample {
    Sample(family: family, storage: .gguf(SyntheticModel.GGUFLayout(type, split: split)))
  }

  static let safetensors = [
    directory(.mixtral, .init(.single)),
    directory(.mixtral, .init(.byLayer)),
    directory(.mixtral, .init(.scattered, experts: .f16)),
    directory(.mixtral, .init(.single, fused: true)),
    directory(.mixtral, .init(.byLayer, fused: true, gate: .f32)),
    directory(.qwen3, .init(.single, gate: .f32, experts: .f32)),
    directory(.qwen3, .init(.byLayer)),
    directory(.qwen3, .init(.scattered)),
    directory(.qwen3, .init(.byLayer, fused: true)),
    directory(.qwen3, .init(.scattered, experts: .fp8)),
    directory(.deepseek, .init(.single)),
    directory(.deepseek, .init(.byLayer, bias: .bf16)),
    directory(.deepseek, .init(.scattered, bias: .bf16, experts: .fp8)),
    directory(.deepseek, .init(.single, fused: true)),
    Sample(family: .mixtral, storage: .file(.init(.single))),
    Sample(family: .deepseek, storage: .file(.init(.single, bias: .bf16))),
  ]

  static let gguf = [
    gguf(.mixtral, .f32), gguf(.mixtral, .q8_0, split: true),
    gguf(.qwen3, .f16), gguf(.qwen3, .q8_0),
    gguf(.deepseek, .f16, split: true), gguf(.deepseek, .q8_0),
  ]
}

/// A sample on disk with a capture, in a folder of its own.
struct Workbench {
  let directory: TemporaryDirectory
  let sample: Sample
  let model: SyntheticModel
  let seed: UInt64
  /// The checkpoint's path.
  let source: String
  let capture: String

  init(
    _ sample: Sample, seed: UInt64 = 1, tokens: Int = 1280, mtpLayers: Int = 0
  ) throws {
    let fp8 =
      switch sample.storage {
      case .directory(let layout), .file(let layout): layout.expertType == .fp8
      case .gguf: false
      }
    directory = try TemporaryDirectory()
    self.sample = sample
    self.seed = seed
    // Two scale blocks in each direction, the second one cut off.
    model = SyntheticModel(
      sample.family, seed: seed, hidden: fp8 ? 144 : 64, width: fp8 ? 136 : 32, tokens: tokens,
      fp8: fp8, mtpLayers: mtpLayers)
    let folder = directory.url.appending(path: "source")
    switch sample.storage {
    case .directory(let layout):
      try model.writeSafetensors(layout, to: folder)
      source = directory.path("source")
    case .file(let layout):
      try model.writeSafetensors(layout, to: folder)
      source = directory.path("source/model.safetensors")
    case .gguf(let layout):
      source = try model.writeGGUF(layout, to: folder)
    }
    capture = try model.writeCapture(to: directory.url)
  }

  var isGGUF: Bool {
    if case .gguf = sample.storage { true } else { false }
  }

  var sourceFolder: URL { directory.url.appending(path: "source") }

  /// An output path of the container's kind.
  func output(_ name: String) -> String {
    guard isGGUF else { return directory.path(name) }
    // A folder for each, so that its files are all of the output.
    try? FileManager.default.createDirectory(
      atPath: directory.path(name), withIntermediateDirectories: false)
    return directory.path(name + "/out.gguf")
  }

  func folder(_ name: String) -> URL { directory.url.appending(path: name) }

  var request: ConvertRequest {
    ConvertRequest(checkpoint: source, calibration: [capture], threads: 2)
  }

  @discardableResult
  func convert(
    to name: String?, _ change: (inout ConvertRequest) -> Void = { _ in }
  ) throws -> Conversion.Result {
    var request = request
    request.output = name.map(output)
    change(&request)
    return try Conversion(request, progress: Silent()).run()
  }

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

  /// Which function each slot holds by an output's manifest, per MoE layer.
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

  /// Everything that belongs to each expert of a layer, by part.
  func experts(of layer: Int, in weights: PlainCheckpoint) -> [[String: [UInt8]]] {
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
