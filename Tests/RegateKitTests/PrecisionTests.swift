// SPDX-License-Identifier: Apache-2.0
//
// What a model is run in: what changes by it, and that it is said.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

@Suite struct PrecisionTests {
  private static func capture(
    _ model: String, _ ids: String, to path: String, _ precision: Precision,
    part: CapturePart? = nil
  ) throws -> CaptureRun {
    try CaptureRun.run(
      .init(
        checkpoint: model, calibration: [ids], output: path,
        tokens: .init(maxTokens: 700, precision: precision), part: part, type: .f32, threads: 2))
  }

  @Test(arguments: [TinyModel.mixtral, .qwen3, .deepseek])
  func `bfloat16 is near float32, is not it, and is said`(_ model: TinyModel) throws {
    let folder = try TemporaryDirectory()
    let ids = model.ids("heldout")
    let exact = try Self.capture(model.path, ids, to: folder.path("1.safetensors"), .f32)
    let near = try Self.capture(model.path, ids, to: folder.path("2.safetensors"), .bf16)
    let auto = try Self.capture(model.path, ids, to: folder.path("3.safetensors"), .auto)
    #expect(exact.precision == "float32" && near.precision == "bfloat16")
    #expect(near.json["precision"] == .string("bfloat16"))
    #expect(exact.meanNLL != near.meanNLL && abs(exact.meanNLL - near.meanNLL) < 1e-3)
    #expect(auto.meanNLL == (auto.precision == "float32" ? exact : near).meanNLL)
    let metadata = try ["1", "2"].map {
      try ArrayContainer.open(folder.path("\($0).safetensors")).metadata["compute_dtype"]
    }
    #expect(metadata == ["float32", "bfloat16"])
  }

  @Test func `block types of GGUF are exact in f32 alone, and bf16 leaves them alone`() throws {
    let model = TinyModel.qwen3
    let folder = try TemporaryDirectory()
    func run(_ precision: Precision) throws -> CaptureRun {
      try Self.capture(
        model.gguf, model.ids("heldout"), to: folder.path("\(precision).safetensors"), precision)
    }
    let (exact, auto, near) = (try run(.f32), try run(.auto), try run(.bf16))
    #expect(exact.precision == "float32")
    #expect(auto.precision != "float32" || auto.meanNLL == exact.meanNLL)
    #expect(near.precision.hasPrefix(auto.precision))
    #expect(abs(auto.meanNLL - exact.meanNLL) < 2e-2)
  }

  @Test func `captures in two precisions are named, and parts in two refused`() throws {
    let folder = try TemporaryDirectory()
    let model = TinyModel.mixtral
    let ids = model.ids("heldout")
    let paths = try [(1, Precision.f32, ids), (2, .bf16, model.ids("calibration"))].map {
      number, precision, ids in
      let path = folder.path("\(number).safetensors")
      _ = try Self.capture(model.path, ids, to: path, precision)
      return path
    }
    func inspect(_ files: [String], _ sink: any ProgressSink = NoProgress()) throws -> Inspection {
      try Inspection.run(
        .init(checkpoint: model.path, load: .traffic(files, .init()), threads: 2), progress: sink)
    }
    let warnings = Warnings()
    let both = try inspect(paths, warnings)
    #expect(both.loadSource == "captured activations in bfloat16 and float32")
    #expect(
      warnings.all.contains {
        $0.hasPrefix("\(paths[1]) was captured in bfloat16, but \(paths[0]) in float32")
      })
    #expect(try inspect([paths[0]]).loadSource == "captured activations")

    let parts = try [(1, Precision.f32), (2, .bf16)].map { number, precision in
      let path = folder.path("part\(number).safetensors")
      _ = try Self.capture(
        model.path, ids, to: path, precision, part: CapturePart(number, of: 2))
      return path
    }
    let error = #expect(throws: RegateError.self) { _ = try inspect(parts) }
    #expect(error?.subject == "compute_dtype" && error?.file == parts[1])
    #expect(error?.problem.hasSuffix(": bfloat16 instead of float32") == true)
    #expect(error?.advice?.contains("`precision` f32 or bf16 is the same") == true)
  }

  @Test func `a run in another precision does not continue one`() throws {
    let folder = try TemporaryDirectory()
    let model = TinyModel.qwen3
    func request(_ precision: Precision, resumes: Bool) -> CaptureRun.Request {
      var resume = ResumeOptions(resumes: resumes, interval: 0)
      resume.afterSave = { _ in RegateError(.refused, "stopped") }
      return .init(
        checkpoint: model.path, calibration: [model.ids("heldout")],
        output: folder.path("out.safetensors"),
        tokens: .init(maxTokens: 700, precision: precision), threads: 2, resume: resume)
    }
    let stopped = #expect(throws: RegateError.self) {
      _ = try CaptureRun.run(request(.f32, resumes: false))
    }
    #expect(stopped?.problem == "stopped")
    let other = #expect(throws: RegateError.self) {
      _ = try CaptureRun.run(request(.bf16, resumes: true))
    }
    #expect(
      other?.description.contains("precision float32 instead of bfloat16") == true
        || other?.description.contains("another precision") == true)
  }

  @Test func `fits and validations say what the model was run in`() throws {
    let folder = try TemporaryDirectory()
    let model = TinyModel.mixtral
    let sets = CalibrationSets(
      [model.ids("calibration")], tokens: .init(maxTokens: 700, precision: .bf16))
    let fit = try FitRun.run(
      .init(
        checkpoint: model.path, calibration: sets,
        settings: .init(refinementSteps: 0), form: .stock, threads: 2,
        output: .init(folder.path("my.fit"))))
    #expect(fit.fit.origin.precision == "bfloat16")
    let validation = try Validation.run(
      .init(
        original: model.path, patched: model.path, calibration: [model.ids("heldout")],
        tokens: .init(maxTokens: 700, precision: .bf16), threads: 2))
    #expect(validation.json["precision"] == .string("bfloat16"))
    #expect(validation.quality?.divergence == 0)
  }
}
