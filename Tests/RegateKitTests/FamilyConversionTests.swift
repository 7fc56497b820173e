// SPDX-License-Identifier: Apache-2.0
//
// Models of every class that transformers writes, converted from captured activations.

import Foundation
import RegateKit
import TestSupport
import Testing

/// A class with random weights, and captures in which a few directions come up far more often.
private struct FamilyBench {
  let directory: TemporaryDirectory
  let sample: ClassSample

  var source: String { directory.path("source") }
  var capture: String { directory.path("capture.safetensors") }

  init(
    _ sample: ClassSample, config: (inout [String: Any]) -> Void = { _ in }
  ) throws {
    self.sample = sample
    directory = try TemporaryDirectory()
    var generator = SeededGenerator(seed: 3)
    func random(_ count: Int) -> [Float] {
      // BF16 values.
      (0..<count).map { _ in Float(Int.random(in: -64...64, using: &generator)) / 64 }
    }
    try sample.write(
      to: directory.url.appending(path: "source"), config: config,
      // A router's scale is not 0.
      values: { name, count in
        random(count).map { name.hasSuffix("router.scale") ? $0 + 1.5 : $0 }
      })
    let (tokens, hidden) = (256, 32)
    let hot = random(hidden)
    var inputs = random(tokens * hidden)
    for index in inputs.indices { inputs[index] += hot[index % hidden] }
    let gates = sample.tensors.keys.filter { isGate($0) && !choosesByTable($0, sample.tensors) }
    try sample.writeCapture(
      inputs, layers: gates.compactMap { Int($0.split(separator: ".")[2]) },
      to: directory.url.appending(path: "capture.safetensors"))
  }

  func weights(_ name: String) throws -> PlainCheckpoint {
    try PlainCheckpoint(safetensors: directory.url.appending(path: name))
  }

  func validate() throws -> Validation {
    try Validation.run(
      .init(
        original: source, patched: directory.path("out"), calibration: [capture], threads: 2))
  }

  /// For two ranks.
  func place(_ output: PlacementRun.Output) throws -> PlacementRun {
    try PlacementRun.run(
      .init(
        checkpoint: source, load: .traffic([capture], .init()), ranks: [2], output: output,
        threads: 2))
  }

  func draft(_ form: RouterForm) -> ConversionDraft {
    var draft = ConversionDraft(source, calibration: [capture], to: directory.path("out"))
    draft.form = form
    draft.settings.refinementSteps = 0
    return draft
  }
}

/// Of a router's matrix [E,H].
private func isGate(_ name: String) -> Bool {
  let ends = [
    "gate.weight", "router.weight", "router.layer.weight", "router.proj.weight", "gate.wg.weight",
  ]
  return ends.contains(where: name.hasSuffix) && !name.contains("shared")
}

/// Whether the layer of a gate has a table of token ids.
private func choosesByTable(_ gate: String, _ tensors: [String: some Any]) -> Bool {
  gate.hasSuffix("gate.weight")
    && tensors[gate.replacing("gate.weight", with: "gate.tid2eid")] != nil
}

private func isRouter(_ name: String) -> Bool {
  let biases = [
    "e_score_correction_bias", "router.bias", "gate.bias", "expert_bias", "router_bias",
  ]
  return isGate(name) || biases.contains(where: name.hasSuffix)
}

private func isExpert(_ name: String) -> Bool {
  name.contains(".experts.") || name.contains("put_linear") && !name.contains("shared")
    || name.hasSuffix("per_expert_scale")
    || name.contains(".moe.") && name.hasSuffix("_proj.weight")
}

@Test(arguments: ClassSample.all + ClassSample.inspected)
func `every class is converted from captures`(_ sample: ClassSample) throws {
  let bench = try FamilyBench(sample)
  _ = try bench.draft(.stock).run()
  let (before, after) = (try bench.weights("source").tensors, try bench.weights("out").tensors)
  #expect(Set(before.keys) == Set(after.keys))
  let changed = before.keys.filter { before[$0]?.bytes != after[$0]?.bytes }
  #expect(changed.allSatisfy { isRouter($0) || isExpert($0) })
  #expect(changed.contains(where: isRouter))
  #expect(!changed.contains { isGate($0) && choosesByTable($0, before) })
  let validation = try bench.validate()
  #expect(
    validation.layers.count
      == before.keys.count { isGate($0) && !choosesByTable($0, before) })
  func mean(_ values: [Double?]) throws -> Double {
    try values.reduce(0) { try $0 + #require($1) } / Double(values.count)
  }
  let even = try mean(validation.layers.map(\.patched.metrics.gini))
  #expect(try even < mean(validation.layers.map(\.original.metrics.gini)))
}

@Test(arguments: ClassSample.all + ClassSample.inspected)
func `every class is renumbered without a change of what it chooses`(_ sample: ClassSample) throws {
  let bench = try FamilyBench(sample)
  let placement = try bench.place(.checkpoint(.copy(to: bench.directory.path("out"))))
  let validation = try bench.validate()
  for (layer, order) in zip(validation.layers, placement.map.layers) {
    #expect(layer.agreement.overlap == 1)
    #expect(layer.patched.load == order.map { layer.original.load[$0] })
  }
}

@Test(arguments: [RouterForm.stock, .lpr])
func `a bias on the logits is fitted, and travels in a fit file`(_ form: RouterForm) throws {
  let sample = try #require(ClassSample.all.first { $0.modelType == "gpt_oss" })
  let bench = try FamilyBench(sample)
  var draft = bench.draft(form)
  let conversion = try draft.run()
  let fitted = try bench.weights("out").tensors
  let bias = "model.layers.0.mlp.router.bias"
  let original = try bench.weights("source").tensors[bias]?.bytes
  #expect((fitted[bias] == nil) == (form == .lpr) && fitted[bias]?.bytes != original)
  let fit = bench.directory.path("fit.safetensors")
  try conversion.fit.write(to: fit)
  draft.fit = fit
  draft.output = .checkpoint(.copy(to: bench.directory.path("applied")))
  _ = try draft.run()
  #expect(try bench.weights("applied").tensors == fitted)
}

@Test(arguments: ["gpt_oss", "gemma4_text"])
func `pruned experts take their biases and scales with them`(_ type: String) throws {
  let sample = try #require(ClassSample.all.first { $0.modelType == type })
  let bench = try FamilyBench(sample)
  var draft = bench.draft(.stock)
  draft.budget = .pruned(1)
  _ = try draft.run()
  let (before, after) = (try bench.weights("source").tensors, try bench.weights("out").tensors)
  #expect(Set(before.keys) == Set(after.keys))
  for layer in 0..<2 {
    let names = before.keys.filter {
      $0.hasPrefix("model.layers.\(layer).") && (isRouter($0) || isExpert($0))
        && !$0.hasSuffix("_scales")
    }
    func rows(_ tensor: PlainCheckpoint.Tensor?, _ count: Int) throws -> [ArraySlice<UInt8>] {
      let bytes = try #require(tensor).bytes
      let size = bytes.count / count
      return (0..<count).map { bytes[$0 * size..<($0 + 1) * size] }
    }
    // The three that stay are the same ones everywhere.
    let kept = try names.map { name in
      let old = try rows(before[name], 4).map(Array.init)
      return try rows(after[name], 3).map { row in old.firstIndex(of: Array(row)) }
    }
    #expect(kept.allSatisfy { $0 == kept[0] && $0.allSatisfy { $0 != nil } })
  }
}

@Test func `a class without a modelling class keeps its own router`() throws {
  let sample = try #require(ClassSample.inspected.first { $0.modelType == "afmoe" })
  let bench = try FamilyBench(sample)
  let error = #expect(throws: RegateError.self) { try bench.draft(.lpr).run() }
  #expect(error?.advice == "use `router` stock")
}

@Test func `a model inside another one has the stock form unless another is asked for`() throws {
  let sample = try #require(ClassSample.all.first { $0.modelType == "deepseek_v3" })
  let bench = try FamilyBench(sample) { $0 = ["model_type": "some_vl", "text_config": $0] }
  var draft = bench.draft(.stock)
  draft.form = nil
  #expect(try draft.plan().json["router"]?.stringValue == "stock")
  draft.form = .lpr
  let error = #expect(throws: RegateError.self) { try draft.plan() }
  #expect(error?.advice == "use `router` stock")
}

@Test(arguments: ClassSample.all.filter { $0.config["index_topk"] != nil })
func `sequences that a sparse indexer keeps whole are run, longer ones refused`(
  _ sample: ClassSample
) throws {
  let bench = try FamilyBench(sample)
  func inspect(_ length: Int) throws -> Inspection {
    let rows = (0..<8).map { row in (0..<length).map { (row + 3 * $0) % 40 } }
    let ids = try bench.directory.writeIDs(rows, to: "ids.npy")
    return try Inspection.run(.init(checkpoint: bench.source, load: .traffic([ids], .init())))
  }
  #expect(try inspect(16).layers.contains { $0.load != nil })
  let error = #expect(throws: RegateError.self) { try inspect(17) }
  #expect(error?.subject == "index_topk" && error?.advice?.contains("at most 16") == true)
}
