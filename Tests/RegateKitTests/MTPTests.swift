// SPDX-License-Identifier: Apache-2.0
//
// Routers of layers for multi-token prediction: left alone and said so, unless they are asked for.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Reports
import Routing
import TestSupport
import Testing

private let samples = [
  Sample(.deepseek, .directory(.init(.byLayer))),
  Sample(.deepseek, .directory(.init(.single, fused: true))),
  Sample(.deepseek, .gguf(.init(.f16, split: true))),
]

/// One layer for multi-token prediction, number 3, after three others.
private let layer = 3

extension Workbench {
  fileprivate init(predicting sample: Sample, tokens: Int) throws {
    try self.init(sample, tokens: tokens, mtpLayers: 1)
  }

  fileprivate var gate: String {
    isGGUF ? "blk.3.ffn_gate_inp.weight" : "model.layers.3.mlp.gate.weight"
  }

  /// The tensors of the layer for multi-token prediction.
  fileprivate func predicting(_ name: String) throws -> [String: [UInt8]] {
    let prefix = isGGUF ? "blk.3." : "model.layers.3."
    return try weights(name).tensors.filter { $0.key.hasPrefix(prefix) }.mapValues(\.bytes)
  }
}

@Test(arguments: samples)
private func `a router for multi-token prediction is named and left alone`(
  _ sample: Sample
) throws {
  let bench = try Workbench(predicting: sample, tokens: 512)
  let notice = "Left alone: \(bench.gate), the router of a layer for multi-token prediction"
  let inspection = try Inspection.run(.init(checkpoint: bench.source, threads: 2))
  #expect(inspection.text.contains(notice) && inspection.page.render().contains(bench.gate))
  #expect(inspection.json["extra_routers"] == [.string(bench.gate)])
  #expect(inspection.layers.map(\.index) == [1, 2])
  for form in sample.forms {
    let name = "out-\(form.rawValue)"
    let result = try bench.convert(to: name) { $0.form = form }
    #expect(result.text.contains(notice) && result.plan.text.contains(notice))
    #expect(result.json["plan"]?["left_alone"] == [.string(bench.gate)])
    #expect(try bench.predicting(name) == bench.predicting("source"))
    #expect(try bench.predicting("source").count > 3)
  }
  let check = try Check.run(.init(checkpoint: bench.source))
  #expect(check.outcomes.allSatisfy { $0.findings.contains { $0.subject == bench.gate } })
}

@Test(arguments: samples)
private func `a router for multi-token prediction is balanced if asked`(_ sample: Sample) throws {
  let bench = try Workbench(predicting: sample, tokens: 768)
  let fit = bench.directory.path("my.fit")
  // Bound to the model's own layers, as every capture.
  let capture = try bench.model.writeCapture(
    to: bench.directory.url, name: "bound", fingerprint: fingerprint(bench.model))
  let result = try bench.convert(to: "out") {
    $0.sets.files = [capture]
    $0.settings.mtp = true
  }
  try result.fit.write(to: fit)
  #expect(!result.text.contains("Left alone"))
  #expect(result.json["plan"]?["router"]?.stringValue == "stock")
  let manifest = try bench.manifest("out")
  #expect(manifest["options"]?["mtp"] == .bool(true))
  #expect(manifest["layers"]?.arrayValue?.compactMap { $0["index"]?.intValue } == [1, 2, layer])
  try bench.requireSameButRouters("out", maps: bench.claimedMaps("out"))
  let (before, after) = (try bench.predicting("source"), try bench.predicting("out"))
  #expect(Set(before.keys) == Set(after.keys) && before[bench.gate] != after[bench.gate])

  let judged = try bench.validate("out", mtp: true)
  #expect(judged.layers.map(\.index) == [1, 2, layer])
  let last = try #require(judged.layers.last)
  let old = try #require(last.original.metrics.gini)
  let new = try #require(last.patched.metrics.gini)
  #expect(new < 0.6 * old, "\(old) to \(new)")
  #expect(last.logicalExperts < bench.model.experts, "no clones: the sample is too even")
  #expect(try bench.validate("out").layers.map(\.index) == [1, 2])

  // A fit that holds the layer is used whole.
  try bench.convert(to: "applied") { $0.fit = fit }
  #expect(try bench.predicting("applied") == after)
}

@Test func `renumbering reaches a layer for multi-token prediction if asked`() throws {
  let bench = try Workbench(predicting: samples[0], tokens: 512)
  for mtp in [true, false] {
    _ = try PlacementRun.run(
      .init(
        checkpoint: bench.source, load: .traffic([bench.capture], .init()), ranks: [2],
        output: .checkpoint(.copy(to: bench.output(mtp ? "placed" : "own"))), mtp: mtp, threads: 2))
  }
  let manifest = try bench.manifest("own")
  #expect(manifest["layers"]?.arrayValue?.compactMap { $0["index"]?.intValue } == [1, 2])
  let placement = try #require(
    bench.manifest("placed")["layers"]?.arrayValue?.first { $0["index"]?.intValue == layer })
  let order = (placement["physical_to_logical"]?.arrayValue ?? []).compactMap(\.intValue)
  #expect(order != order.sorted() && order.sorted() == Array(0..<bench.model.experts))
  let (before, after) = (try bench.weights(), try bench.weights("placed"))
  let old = bench.model.experts(of: layer, in: before)
  #expect(bench.model.experts(of: layer, in: after) == order.map { old[$0] })
}

@Test func `what mtp cannot do is refused`() throws {
  let bench = try Workbench(predicting: samples[0], tokens: 64)
  func refusal(_ bench: Workbench, _ change: (inout ConversionDraft) -> Void) throws -> String {
    let error = #expect(throws: RegateError.self) {
      try bench.convert(to: "out") {
        $0.settings.mtp = true
        change(&$0)
      }
    }
    #expect(!FileManager.default.fileExists(atPath: bench.output("out")))
    return error?.description ?? ""
  }
  #expect(try refusal(bench) { $0.form = .lpr }.contains("use `router` stock"))
  let ids = try bench.directory.write(
    npyBytes(npyDictionary("<i4", "(1, 4)"), data: (1...4).flatMap { littleEndian(Int32($0)) }),
    to: "ids.npy")
  #expect(try refusal(bench) { $0.sets.files = [ids] }.contains("give a capture that holds"))
  // A capture of the model's own layers only, as transformers makes it.
  let own = try bench.model.writeCapture(
    to: bench.directory.url, name: "own", layers: bench.model.layers.dropLast())
  #expect(
    try refusal(bench) { $0.sets.files = [own] }.contains("layers.3.router_input"))
  let without = try Workbench(samples[0], tokens: 64)
  #expect(try refusal(without) { _ in }.contains("leave `mtp` out"))
}
