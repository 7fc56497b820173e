// SPDX-License-Identifier: Apache-2.0
//
// Renumbered experts: the same model with other numbers.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

@Test(arguments: Sample.safetensors + Sample.gguf)
func `place moves experts with their router rows and nothing else`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 640)
  let source = try fileTree(bench.sourceFolder)
  let result = try bench.place(to: "out")
  #expect(try fileTree(bench.sourceFolder) == source)
  let placements = try bench.placements("out")
  #expect(placements.count == bench.model.layers.count)
  try bench.requirePlaced("out", placements)
  // Groups stay groups.
  if sample.family == .deepseek {
    let size = bench.model.experts / SyntheticModel.groups
    for placement in placements {
      for group in 0..<SyntheticModel.groups {
        #expect(Set(placement[group * size..<(group + 1) * size].map { $0 / size }).count == 1)
      }
    }
  }
  #expect(try bench.manifest("out")["router"]?.stringValue == "unchanged")
  let ranks = try #require(result.json["rank_max_over_mean"]?.objectValue)
  #expect(ranks.keys.elementsEqual(bench.ranks.map(String.init)))
  let four = try #require(ranks[String(bench.ranks[1])])
  #expect((four["after"]?.doubleValue ?? 9) < (four["before"]?.doubleValue ?? 0))
  // All tokens say about what the held-out ones do.
  let inspected = try Inspection.run(
    .init(
      checkpoint: bench.first("out"), load: .traffic([bench.capture], .init()),
      ranks: [bench.ranks[1]], threads: 2))
  let measured = inspected.layers.compactMap { $0.load?.rankImbalance.first?.value }
  let mean = measured.reduce(0, +) / Double(measured.count)
  #expect(abs(mean - (four["after"]?.doubleValue ?? 0)) < 0.1)
}

@Test(arguments: [Sample.mixtral, Sample.qwen3, Sample.deepseekBF16Bias])
func `renumbering unfused experts moves no expert's bytes`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 640)
  let delta = bench.directory.path("place.delta")
  try bench.place(to: "out")
  try bench.place(to: .delta(to: delta))
  try bench.apply(delta, to: "applied")
  #expect(try fileTree(bench.folder("applied")) == fileTree(bench.folder("out")))
  // Headers, gates and the manifest: less than the experts by far.
  let size = try Data(contentsOf: URL(filePath: delta)).count
  let weights = try bench.weights().tensors.values.reduce(0) { $0 + $1.bytes.count }
  #expect(size < weights / 3, "\(size) of \(weights)")
  let index = bench.folder("out").appending(path: "model.safetensors.index.json")
  guard FileManager.default.fileExists(atPath: index.path(percentEncoded: false)) else { return }
  let map = try JSONValue(contentsOf: index.path(percentEncoded: false))["weight_map"]
  for (name, tensor) in try bench.weights("out").tensors {
    #expect(map?[name]?.stringValue == tensor.file)
  }
}

@Test(arguments: [
  Sample.mixtral, Sample.mixtralFused, Sample.qwen3, Sample.ggufMixtralSplit,
  Sample.ggufDeepseekSplit,
])
func `renumbering in place is taken back`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 640)
  let source = try fileTree(bench.sourceFolder)
  try bench.place(to: "out")
  try bench.place(to: .inPlace)
  let (inPlace, out) = (try bench.weights(), try bench.weights("out"))
  for (name, tensor) in out.tensors {
    #expect(inPlace.tensors[name]?.bytes == tensor.bytes, "\(name)")
  }
  try bench.revert()
  #expect(try fileTree(bench.sourceFolder) == source)
}

@Test func `experts of one layer in several shards need an index of their own`() throws {
  let bench = try Workbench(.qwen3, tokens: 640)
  // Every second expert to a second shard.
  let weights = try bench.weights()
  var parts: [[FitTensor]] = [[], []]
  var map: [String: JSONValue] = [:]
  for (name, tensor) in weights.tensors.sorted(by: { $0.key < $1.key }) {
    var place = 0
    if case .expert(_, let number, _) = bench.model.part(name) { place = number % 2 }
    parts[place].append((name, tensor.type, tensor.shape, tensor.bytes))
    map[name] = .string("part-\(place).safetensors")
  }
  for name in try fileTree(bench.sourceFolder).keys where name.hasSuffix(".safetensors") {
    try FileManager.default.removeItem(at: bench.sourceFolder.appending(path: name))
  }
  for (place, tensors) in parts.enumerated() {
    try writeSafetensorsFile(
      tensors, metadata: ["format": "pt"],
      to: bench.directory.path("source/part-\(place).safetensors"))
  }
  var index: JSONValue = .object([:])
  for (name, file) in map.sorted(by: { $0.key < $1.key }) { index[name] = file }
  let json: JSONValue = ["metadata": .object([:]), "weight_map": index]
  try bench.directory.write(json.serialised(.pretty), to: "source/model.safetensors.index.json")

  let before = try fileTree(bench.sourceFolder)
  let error = #expect(throws: RegateError.self) {
    try bench.place(to: .inPlace)
  }
  #expect(error?.problem.contains("several shards") == true)
  #expect(try fileTree(bench.sourceFolder) == before)
  try bench.place(to: "out")
  try bench.requirePlaced("out", bench.placements("out"))
}

@Test(arguments: TinyModel.all)
func `a renumbered model predicts the same`(_ model: TinyModel) throws {
  let directory = try TemporaryDirectory()
  let ids = model.ids("heldout")
  let result = try PlacementRun.run(
    .init(
      checkpoint: model.path, load: .traffic([ids], .init()), ranks: [2, 4],
      output: .checkpoint(.copy(to: directory.path("out"))), threads: 2))
  let imbalance = result.json["rank_max_over_mean"]?.objectValue ?? [:]
  func sum(_ key: String) -> Double {
    imbalance.values.reduce(0) { $0 + ($1[key]?.doubleValue ?? 9) }
  }
  // Few experts can lie as evenly as they can already.
  let isMixtral = model.name == TinyModel.mixtral.name
  #expect(sum("after") < sum("before") || isMixtral && sum("after") == sum("before"))
  let report = try Validation.run(
    .init(original: model.path, patched: directory.path("out"), calibration: [ids], threads: 2))
  let nll = try #require(report.json["nll"])
  let (before, after) = (nll["original"]?.doubleValue ?? 0, nll["patched"]?.doubleValue ?? 9)
  #expect(abs(before - after) < 1e-5, "\(before) and \(after)")
  for layer in report.layers { #expect(layer.agreement.overlap > 0.9999) }
}

@Test func `a placement is judged on tokens that it has not seen`() throws {
  let directory = try TemporaryDirectory()
  func place(_ rows: [[Int]]) throws -> (run: PlacementRun, map: Data) {
    let map = directory.path("map.json")
    let run = try PlacementRun.run(
      .init(
        checkpoint: TinyModel.qwen3.path,
        load: .traffic([try directory.writeIDs(rows, to: "ids.npy")], .init()), ranks: [4],
        output: .map(.eplb, to: map, overwrite: true), threads: 2))
    return (run, try Data(contentsOf: URL(filePath: map)))
  }
  // The last of eight sequences is held out.
  var rows = (0..<8).map { row in (0..<32).map { 1 + (row * 37 + $0 * 11) % 250 } }
  let first = try place(rows)
  #expect(first.run.tokens == 7 * 32 && first.run.heldOutTokens == 32)
  rows[7] = (0..<32).map { 1 + $0 * 5 % 250 }
  let other = try place(rows)
  #expect(other.map == first.map && other.run.map.layers == first.run.map.layers)
  #expect(other.run.map.imbalance != first.run.map.imbalance)
}

@Test func `an importance matrix is enough to renumber`() throws {
  let directory = try TemporaryDirectory()
  let gguf = TinyModel.qwen3.gguf
  let model = try Model.open(gguf)
  let layer = try #require(model.layout.layers.first)
  let counts = (0..<layer.rule.experts).map { Float(1000 / ($0 + 1) * layer.rule.topK) }
  let path = try directory.write(
    importanceMatrix(
      layers: model.layout.layers.map(\.index), counts: counts, hidden: layer.hiddenSize,
      width: layer.expertWidth), to: "load.gguf")
  func place(_ output: PlacementRun.Output, redundant: Int = 0) throws -> PlacementRun {
    try PlacementRun.run(
      .init(
        checkpoint: gguf, load: .counts([path]), ranks: [2], output: output, redundant: redundant,
        threads: 2))
  }
  let result = try place(.checkpoint(.copy(to: directory.path("out.gguf"))))
  let ranks = result.json["rank_max_over_mean"]?["2"]
  #expect((ranks?["before"]?.doubleValue ?? 0) > 1.3)
  #expect((ranks?["after"]?.doubleValue ?? 9) < 1.1)

  // The same load for SGLang, with two experts doubled.
  _ = try place(.map(.sglang, to: directory.path("eplb.json")), redundant: 2)
  let map = try #require(
    JSONValue(contentsOf: directory.path("eplb.json")).objectValue)
  #expect(map.keys.elementsEqual(["physical_to_logical_map"]))
  let rows = try #require(map["physical_to_logical_map"]?.arrayValue)
  #expect(rows.count == model.layout.layerCount)
  for row in rows {
    let experts = (row.arrayValue ?? []).compactMap(\.intValue)
    #expect(experts.count == layer.rule.experts + 2)
    #expect(Set(experts) == Set(0..<layer.rule.experts))
    #expect(experts.count { $0 == 0 } > 1, "the hottest expert is doubled")
  }
}
