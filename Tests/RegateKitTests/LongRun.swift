// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import RegateKit
import TestSupport

/// Every long run, by name.
enum LongRun: String, CaseIterable {
  case fit, convert, capture, sweep, validate, place, inspect

  /// Those that go through a whole model go through the one at `path`.
  func run(
    _ bench: Workbench, _ progress: any ProgressSink, model path: String = TinyModel.qwen3.path
  ) throws {
    let ids = TinyModel.qwen3.ids("heldout")
    let tokens = TokenOptions(length: 64, maxTokens: 512)
    var settings = FitSettings()
    settings.refinementSteps = 0
    let sets = CalibrationSets([ids], tokens: tokens)
    let load = LoadRequest.traffic([ids], tokens)
    switch self {
    case .fit:
      _ = try FitRun.run(
        .init(
          checkpoint: bench.source, calibration: .init([bench.capture]), settings: settings,
          threads: 2, output: .init(bench.directory.path("my.fit"))), progress: progress)
    case .convert:
      try bench.convert(to: "out", progress: progress) { $0.settings = settings }
    case .capture:
      _ = try CaptureRun.run(
        .init(
          checkpoint: path, calibration: [ids],
          output: bench.directory.path("made.safetensors"), tokens: tokens, threads: 2),
        progress: progress)
    case .sweep:
      _ = try Sweep.run(
        .init(
          checkpoint: path, calibration: sets, strengths: [1], settings: settings,
          threads: 2), progress: progress)
    case .validate:
      _ = try Validation.run(
        .init(
          original: path, patched: path, calibration: [ids], tokens: tokens,
          threads: 2), progress: progress)
    case .place:
      _ = try PlacementRun.run(
        .init(
          checkpoint: path, load: load, ranks: [2],
          output: .checkpoint(.copy(to: bench.directory.path("placed"))), threads: 2),
        progress: progress)
    case .inspect:
      _ = try Inspection.run(
        .init(checkpoint: path, load: load, threads: 2), progress: progress)
    }
  }
}
