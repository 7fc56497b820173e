// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints without some of their experts.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import TestSupport
import Testing

/// Experts that go: as many of each of DeepSeek's four groups.
private let pruned = 4

extension Workbench {
  fileprivate func prune(
    to name: String?, _ change: (inout ConversionDraft) -> Void = { _ in }
  ) throws -> Conversion {
    try convert(to: name) {
      $0.budget = .pruned(pruned)
      change(&$0)
    }
  }

  /// Checks every tensor of an output without experts against the original's.
  fileprivate func requirePruned(_ name: String) throws {
    let (before, after) = (try weights(), try weights(name))
    let maps = try claimedMaps(name)
    let left = model.experts - pruned
    for (place, layer) in model.layers.enumerated() {
      #expect(maps[place].count == left && maps[place] == maps[place].sorted())
      let experts = model.experts(of: layer.index, in: before)
      let kept = model.experts(of: layer.index, in: after, count: left)
      #expect(kept == maps[place].map { experts[$0] })
    }
    var seen = 0
    for (tensor, old) in before.tensors {
      let new = after.tensors[tensor]
      switch model.part(tensor) {
      case .other: #expect(new?.bytes == old.bytes && new?.shape == old.shape, "\(tensor)")
      case .router(let layer):
        let map = maps[try #require(model.layers.firstIndex { $0.index == layer })]
        let row = old.bytes.count / model.experts
        #expect(new?.bytes == map.flatMap { old.bytes[$0 * row..<($0 + 1) * row] }, "\(tensor)")
        #expect(new?.type == old.type && new?.shape.first == left, "\(tensor)")
        seen += 1
      case .experts: #expect(new?.shape == [left] + old.shape.dropFirst(), "\(tensor)")
      case .expert(_, let number, _): #expect((new != nil) == (number < left), "\(tensor)")
      }
    }
    #expect(seen > 0 && after.tensors.keys.allSatisfy { before.tensors[$0] != nil })
  }
}

@Test(arguments: [
  Sample.qwen3Scattered, .qwen3Fused, .qwen3FP8, .deepseekBF16Bias, .mixtralByLayer, .mixtralFile,
  .ggufQwen3, .ggufMixtralSplit, .ggufDeepseekSplit,
])
func `what is pruned is gone, and all else has its bytes`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 384)
  let source = try fileTree(bench.sourceFolder)
  let result = try bench.prune(to: "out")
  #expect(try fileTree(bench.sourceFolder) == source)
  #expect(result.form == .stock && result.json["pruned"]?.objectValue?.count == 2)
  #expect(result.text.contains("4 experts of each layer are left out"))
  try bench.requirePruned("out")
  let left = bench.model.experts - pruned
  // It is a model of its own, which says so, and which can be compared with the original.
  let model = try Model.open(bench.first("out"))
  #expect(model.layout.layers.allSatisfy { $0.rule.experts == left })
  let validation = try bench.validate("out", ranks: [4])
  for layer in validation.layers {
    #expect(layer.logicalExperts == left && layer.patched.load.count == left)
    #expect(layer.original.load.count == bench.model.experts)
    #expect(try #require(layer.outputError) < 1 && layer.agreement.overlap < 1)
    #expect(layer.agreement.overlap > 0.5)
  }
  let written = try bench.manifest("out")
  #expect(written["options"]?["pruned_experts"] == .integer(pruned))
  guard !bench.isGGUF else { return }
  let config = try JSONValue(contentsOf: bench.directory.path("out/config.json"))
  var old = try JSONValue(contentsOf: bench.directory.path("source/config.json"))
  let key = ["num_experts", "n_routed_experts", "num_local_experts"].first { old[$0] != nil }
  old[try #require(key)] = .integer(left)
  #expect(config == old)
  let card = try String(
    contentsOf: bench.folder("out").appending(path: "README.md"), encoding: .utf8)
  #expect(card.contains("## Pruned experts") && card.contains("| pruned experts | 4 |"))
  let index = bench.directory.path("out/model.safetensors.index.json")
  guard FileManager.default.fileExists(atPath: index) else { return }
  let places = try JSONValue(contentsOf: index)
  let tensors = try bench.weights("out").tensors
  #expect(
    places["weight_map"]?.objectValue?.compactMapValues(\.stringValue)
      == OrderedDictionary(
        uniqueKeysWithValues: tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value.file) }))
  #expect(
    places["metadata"]?["total_size"]?.intValue
      == tensors.values.reduce(0) { $0 + $1.bytes.count })
}

/// It has fewer experts than the configuration that stands beside the original's file says.
@Test func `a pruned output is no single file of safetensors`() throws {
  let bench = try Workbench(.mixtralFile, tokens: 384)
  try bench.prune(to: "out").fit.write(to: bench.fit)
  let path = bench.directory.path("out.safetensors")
  for isNew in [true, false] {
    let error = #expect(throws: RegateError.self) {
      try bench.prune(to: nil) {
        $0.output = .checkpoint(.copy(to: path))
        if !isNew { $0.fit = bench.fit }
      }
    }
    #expect(error?.advice == "give a directory as `output`")
    #expect(!FileManager.default.fileExists(atPath: path))
  }
}

@Test(arguments: [Sample.qwen3Scattered, .ggufDeepseek])
func `a fit and a delta prune as the conversion does`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 384)
  let fit = try bench.prune(to: "out").fit
  try fit.write(to: bench.fit)
  #expect(try ModelFit.read(bench.fit, for: bench.source).forms == [.stock])
  let delta = bench.directory.path("my.delta")
  _ = try bench.prune(to: nil) {
    $0.fit = bench.fit
    $0.output = .checkpoint(.delta(to: delta))
  }
  try bench.apply(delta, to: "applied")
  let (out, applied) = (try fileTree(bench.folder("out")), try fileTree(bench.folder("applied")))
  for (name, bytes) in out where name.hasSuffix(".safetensors") || name == "config.json" {
    #expect(applied[name] == bytes, "\(name)")
  }
  try bench.requirePruned("applied")
  for output in [Conversion.Output.checkpoint(.inPlace), .adapter(to: bench.directory.path("a"))] {
    let error = #expect(throws: RegateError.self) {
      try bench.prune(to: nil) {
        $0.fit = bench.fit
        $0.output = output
      }
    }
    #expect(error?.description.contains("`pruned`") == true, "\(error.debugDescription)")
  }
  let error = #expect(throws: RegateError.self) {
    try bench.prune(to: "lpr") {
      $0.fit = bench.fit
      $0.form = .lpr
    }
  }
  #expect(error?.description.contains("`router` lpr") == true)
}

@Test func `what cannot be pruned is refused before any work`() throws {
  let bench = try Workbench(.deepseek, tokens: 256, mtpLayers: 1)
  func refusal(_ change: (inout ConversionDraft) -> Void) -> String {
    let error = #expect(throws: RegateError.self) { try bench.prune(to: "out", change) }
    return error?.description ?? ""
  }
  #expect(refusal { $0.budget = .pruned(6) }.contains("`pruned`: is 6, which the 4 groups"))
  #expect(refusal { $0.budget = .pruned(12) }.contains("multiples of 4 up to 8"))
  // Its layer for multi-token prediction has as many experts.
  #expect(refusal { _ in }.contains("multi-token prediction"))
  #expect(
    refusal {
      $0.settings.mtp = true
      $0.sets.protected = [bench.capture]
    }.contains("`protected`"))
  let result = try bench.prune(to: "out") { $0.settings.mtp = true }
  #expect(result.fit.layerIndices == [1, 2, 3])
  #expect(try Model.open(bench.first("out"), mtp: true).layout.layers.count == 3)
}
