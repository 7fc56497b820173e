// SPDX-License-Identifier: Apache-2.0
//
// A fit is a value: it can be kept, written later, read for another copy of the model, and used.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// What a reader of JSON sees: numbers, strings and nulls without their order or spelling.
private func plain(_ data: Data) throws -> NSDictionary {
  try #require(try JSONSerialization.jsonObject(with: data) as? NSDictionary)
}

/// Encodes as any Encodable is, and compares with the value's own JSON.
private func requireEncodable(_ report: some JSONRepresentable) throws {
  let encoded = try plain(JSONEncoder().encode(report))
  let own = try plain(Data(report.json.serialised(.compact)))
  #expect(encoded == own, "\(type(of: report))")
  #expect(encoded.count > 1)
}

/// The same for a part of a report, which has to stand in the report's JSON.
private func requirePart(_ part: some JSONRepresentable, _ inReport: JSONValue?) throws {
  try requireEncodable(part)
  #expect(part.json == inReport, "\(type(of: part))")
}

@Suite struct FitValueTests {
  @Test func `a fit that was kept is the same as its file`() throws {
    let bench = try Workbench(.qwen3, tokens: 320)
    var draft = bench.draft
    draft.settings.refinementSteps = 40
    let before = try fileTree(bench.directory.url)
    let run = try draft.fit()
    #expect(run.output == nil)
    #expect(try fileTree(bench.directory.url) == before, "nothing was asked to be written")

    let path = bench.directory.path("later.fit")
    try run.fit.write(to: path)
    #expect(throws: RegateError.self) { try run.fit.write(to: path) }
    try run.fit.write(to: path, overwrite: true)
    let read = try ModelFit.read(path, for: bench.source)
    #expect(read.layerIndices == run.fit.layerIndices && read.figures == run.fit.figures)
    #expect(read.origin == run.fit.origin && read.point == run.fit.point)
    #expect(read.forms == run.fit.forms)
    #expect(read.json(.lpr) == run.fit.json(.lpr))

    func convert(_ name: String, _ source: Conversion.Source) throws -> [String: Data] {
      _ = try Conversion.run(
        .init(
          checkpoint: bench.source, source: source,
          output: .checkpoint(.copy(to: bench.output(name))), threads: 2))
      var tree = try fileTree(bench.folder(name))
      // It names the file that the fit was read from.
      tree["regate.json"] = nil
      tree["README.md"] = nil
      return tree
    }
    let known = try convert("known", .fit(run.fit))
    #expect(try convert("read", .fit(read)) == known)
    #expect(try convert("file", .file(path)) == known)
    #expect(known["model.safetensors.index.json"] != nil)
    #expect(
      try bench.manifest("known")["figures"] == bench.manifest("file")["figures"])
  }

  @Test(arguments: SyntheticModel.Family.allCases)
  func `a fit serves other quantisations in both containers`(
    _ family: SyntheticModel.Family
  ) throws {
    let bench = try Workbench(Sample(family, .directory(.init(.byLayer))), tokens: 192)
    let known = try bench.stockFit()
    let fit = try ModelFit.read(known.path, for: bench.source)
    try bench.model.writeSafetensors(
      .init(.single, gate: .f32, experts: .f32), to: bench.folder("wide"))
    let gguf = try bench.model.writeGGUF(.init(.q8_0), to: bench.folder("gguf"))
    for (checkpoint, path) in [
      (bench.directory.path("wide"), bench.directory.path("wide-out")),
      (gguf, bench.directory.path("out.gguf")),
    ] {
      let read = try ModelFit.read(known.path, for: checkpoint)
      #expect(read.figures == fit.figures)
      func bytes(_ source: Conversion.Source) throws -> [String: [UInt8]] {
        _ = try Conversion.run(
          .init(
            checkpoint: checkpoint, source: source,
            output: .checkpoint(.copy(to: path, overwrite: true)), form: .stock, threads: 2))
        let plain =
          path.hasSuffix(".gguf")
          ? try PlainCheckpoint(gguf: [URL(filePath: path)])
          : try PlainCheckpoint(safetensors: URL(filePath: path))
        return plain.tensors.mapValues(\.bytes)
      }
      let fromFile = try bytes(.file(known.path))
      #expect(try bytes(.fit(fit)) == fromFile)
      #expect(try bytes(.fit(read)) == fromFile)
      let gates = fromFile.filter { name, _ in
        guard case .router = bench.model.part(name) else { return false }
        return name.hasSuffix("gate.weight") || name.hasSuffix("ffn_gate_inp.weight")
      }
      #expect(
        Set(gates.values) == Set(known.stock.gates.map { PlainType.f32.bytes($0) }), "\(path)")
    }
  }

  @Test func `a fit of other layers or of another family is refused`() throws {
    let bench = try Workbench(.mixtral, tokens: 64)
    let other = try Workbench(.qwen3, tokens: 192)
    let fit = try ModelFit.read(try other.stockFit().path, for: other.source)
    let error = #expect(throws: RegateError.self) {
      try Conversion.run(
        .init(
          checkpoint: bench.source, source: .fit(fit),
          output: .checkpoint(.copy(to: bench.output("out"))), threads: 2))
    }
    #expect(error?.subject == "`fit`" && error?.code == .mismatch)
    #expect(!FileManager.default.fileExists(atPath: bench.output("out")))
  }

  @Test func `a part of a report encodes as it stands in the report`() throws {
    let bench = try Workbench(.mixtral, tokens: 320)
    var draft = bench.draft
    draft.settings.refinementSteps = 0
    draft.output = .checkpoint(.copy(to: bench.output("out")))
    let plan = try draft.plan()
    try requirePart(plan.layers[0], plan.json["layers"]?.arrayValue?.first)
    #expect(plan.container == "safetensors" && plan.family == "mixtral" && plan.clones)
    #expect(plan.leftAlone.isEmpty)
    try requirePart(
      plan.check.outcomes[0], plan.json["check"]?["runtimes"]?.arrayValue?.first)
    let run = try draft.run()
    try requirePart(try #require(run.fit.point), run.json["held_out"])
    try requirePart(run.fit.sets[0], run.json["sets"]?.arrayValue?.first)
    try requirePart(
      try #require(run.written),
      .object([
        "written": run.json["written"] ?? .null, "delta_bytes": .null, "in_place": .null,
      ]))
    let validation = try bench.validate("out")
    let layer = validation.json["layers"]?.arrayValue?.first
    try requirePart(validation.layers[0], layer)
    try requirePart(validation.layers[0].patched, layer?["patched"])
    let load = LoadRequest.traffic([bench.capture], .init())
    let inspection = try Inspection.run(.init(checkpoint: bench.source, load: load, threads: 2))
    try requirePart(inspection.layers[0], inspection.json["layers"]?.arrayValue?.first)
    #expect(inspection.layers[0].scoring == "softmax" && inspection.layers[0].groups == nil)
    let placement = try PlacementRun.run(
      .init(
        checkpoint: bench.source, load: load, ranks: [2],
        output: .map(.sglang, to: bench.directory.path("map.json")), redundant: 2, threads: 2))
    try requireEncodable(placement.map)
    #expect(placement.map.redundant == 2)
  }

  @Test func `every report encodes as its JSON is`() throws {
    let bench = try Workbench(.mixtral, tokens: 320)
    var draft = bench.draft
    draft.settings.refinementSteps = 0
    draft.output = .checkpoint(.copy(to: bench.output("out")))
    try requireEncodable(draft.plan())
    try requireEncodable(draft.run())
    try requireEncodable(draft.fit())
    try requireEncodable(draft.sweep([1]))
    try requireEncodable(bench.validate("out"))
    try requireEncodable(Check.run(.init(checkpoint: bench.output("out"))))
    let load = LoadRequest.traffic([bench.capture], .init())
    try requireEncodable(
      Inspection.run(.init(checkpoint: bench.source, load: load, ranks: [2], threads: 2)))
    let delta = bench.directory.path("place.delta")
    try requireEncodable(
      PlacementRun.run(
        .init(
          checkpoint: bench.source, load: load, ranks: [2],
          output: .checkpoint(.delta(to: delta)), threads: 2)))
    try requireEncodable(
      DeltaApplication.run(
        .init(
          delta: delta, checkpoint: bench.source, output: bench.output("applied"), threads: 2)))
    try requireEncodable(
      PlacementRun.run(
        .init(
          checkpoint: bench.source, load: load, ranks: [2], output: .checkpoint(.inPlace),
          threads: 2)))
    try requireEncodable(Reversion.run(.init(checkpoint: bench.source, threads: 2)))
    let ids = try bench.directory.writeRandomIDs(2, length: 16, to: "ids.npy")
    try requireEncodable(
      CaptureRun.run(
        .init(
          checkpoint: TinyModel.mixtral.path, calibration: [ids],
          output: bench.directory.path("made.safetensors"), threads: 2)))
  }
}
