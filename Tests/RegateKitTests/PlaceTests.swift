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

extension Workbench {
  /// `placement` of an output's manifest, per layer.
  fileprivate func placements(_ name: String) throws -> [[Int]] {
    (try manifest(name)["layers"]?.arrayValue ?? []).map {
      ($0["placement"]?.arrayValue ?? []).compactMap(\.intValue)
    }
  }

  /// Groups of the DeepSeek model fill the ranks of an even division.
  fileprivate var ranks: [Int] { sample.family == .deepseek ? [2, 8] : [2, 4] }

  /// The path of an output's first file.
  func first(_ name: String) -> String {
    let path = output(name)
    guard isGGUF, !FileManager.default.fileExists(atPath: path) else { return path }
    return path.replacingOccurrences(of: ".gguf", with: "-00001-of-00002.gguf")
  }

  fileprivate func place(to name: String?, _ change: (inout ConvertRequest) -> Void = { _ in })
    throws -> Conversion.Result
  {
    try convert(to: name) {
      $0.routes = false
      $0.places = true
      $0.ranks = ranks
      change(&$0)
    }
  }

  /// Rows of a router tensor.
  private func rows(_ tensor: PlainCheckpoint.Tensor) -> [[UInt8]] {
    let size = tensor.bytes.count / model.experts
    return (0..<model.experts).map { Array(tensor.bytes[$0 * size..<($0 + 1) * size]) }
  }

  /// Experts and router rows must be where `placements` says, and nothing else changed.
  fileprivate func requirePlaced(_ name: String, _ placements: [[Int]]) throws {
    let (before, after) = (try weights(), try weights(name))
    #expect(Set(before.tensors.keys) == Set(after.tensors.keys))
    for (layer, placement) in zip(model.layers, placements) {
      #expect(placement.sorted() == Array(0..<model.experts))
      let (old, new) = (
        model.experts(of: layer.index, in: before), model.experts(of: layer.index, in: after)
      )
      #expect(new == placement.map { old[$0] })
      for (tensor, was) in before.tensors where model.part(tensor) == .router(layer: layer.index) {
        let now = try #require(after.tensors[tensor])
        #expect(now.type == was.type && now.shape == was.shape)
        #expect(rows(now) == placement.map { rows(was)[$0] })
      }
    }
    for (tensor, was) in before.tensors where model.part(tensor) == .other {
      #expect(after.tensors[tensor]?.bytes == was.bytes)
    }
  }
}

@Test(arguments: Sample.safetensors + Sample.gguf)
func `place moves experts with their router rows and nothing else`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
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
  let ranks = try #require(result.json["placement"]?.objectValue)
  #expect(ranks.keys.elementsEqual(bench.ranks.map(String.init)))
  let four = try #require(ranks[String(bench.ranks[1])])
  #expect((four["after"]?.doubleValue ?? 9) < (four["before"]?.doubleValue ?? 0))
  let inspected = try Inspection.run(
    .init(
      checkpoint: bench.first("out"), calibration: [bench.capture], ranks: [bench.ranks[1]],
      threads: 2),
    progress: Silent())
  let measured = inspected.layers.compactMap { $0.load?.rankImbalance.first?.value }
  let mean = measured.reduce(0, +) / Double(measured.count)
  #expect(abs(mean - (four["after"]?.doubleValue ?? 0)) < 0.02)
}

@Test(arguments: [Sample.safetensors[0], Sample.safetensors[6], Sample.safetensors[11]])
func `renumbering unfused experts moves no expert's bytes`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
  let delta = bench.directory.path("place.delta")
  _ = try bench.place(to: "out") { $0.delta = delta }
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
  Sample.safetensors[0], Sample.safetensors[3], Sample.safetensors[6], Sample.gguf[1],
  Sample.gguf[4],
])
func `renumbering in place is taken back`(_ sample: Sample) throws {
  let bench = try Workbench(sample)
  let source = try fileTree(bench.sourceFolder)
  _ = try bench.place(to: "out")
  _ = try bench.place(to: nil) { $0.inPlace = true }
  let (inPlace, out) = (try bench.weights(), try bench.weights("out"))
  for (name, tensor) in out.tensors {
    #expect(inPlace.tensors[name]?.bytes == tensor.bytes, "\(name)")
  }
  try bench.revert()
  #expect(try fileTree(bench.sourceFolder) == source)
}

@Test func `experts of one layer in several shards need an index of their own`() throws {
  let bench = try Workbench(Sample.safetensors[6])
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
    _ = try bench.place(to: nil) { $0.inPlace = true }
  }
  #expect(error?.problem.contains("several shards") == true)
  #expect(try fileTree(bench.sourceFolder) == before)
  _ = try bench.place(to: "out")
  try bench.requirePlaced("out", bench.placements("out"))
}

@Test(arguments: [
  (Sample.safetensors[1], RouterForm.lpr), (Sample.safetensors[10], .lpr),
  (Sample.safetensors[1], .stock), (Sample.gguf[3], .stock),
])
func `all three levers work together`(_ sample: Sample, _ form: RouterForm) throws {
  let bench = try Workbench(sample, tokens: 512)
  try bench.convert(to: "plain") { $0.form = form }
  try bench.convert(to: "placed") {
    $0.form = form
    $0.places = true
    $0.ranks = bench.ranks
  }
  let placements = try bench.placements("placed")
  let (plain, placed) = (try bench.claimedMaps("plain"), try bench.claimedMaps("placed"))
  for (layer, placement) in placements.enumerated() {
    #expect(placed[layer] == placement.map { plain[layer][$0] })
  }
  try bench.requireSameButRouters("placed", maps: placed)
  // The same tokens go to the same functions: validation cannot tell the two apart but by load.
  func report(_ name: String) throws -> Validation {
    try Validation.run(
      .init(
        original: bench.source, patched: bench.output(name), calibration: [bench.capture],
        threads: 2), progress: Silent())
  }
  let pairs = zip(try report("plain").layers, try report("placed").layers)
  for ((a, b), placement) in zip(pairs, placements) {
    #expect(a.agreement.overlap == b.agreement.overlap)
    #expect(placement.map { a.patched.load[$0] } == b.patched.load)
  }
}

@Test(arguments: ["tiny-qwen3-moe", "tiny-mixtral", "tiny-deepseek"])
func `a renumbered model predicts the same`(_ name: String) throws {
  let directory = try TemporaryDirectory()
  let source = fixtures.appending(path: name).path(percentEncoded: false)
  let ids = fixtures.appending(path: name + "-data/heldout.npy").path(percentEncoded: false)
  var request = ConvertRequest(
    checkpoint: source, calibration: [ids], output: directory.path("out"), threads: 2)
  request.routes = false
  request.places = true
  request.ranks = [2, 4]
  let result = try Conversion(request, progress: Silent()).run()
  let imbalance = result.json["placement"]?.objectValue ?? [:]
  func sum(_ key: String) -> Double {
    imbalance.values.reduce(0) { $0 + ($1[key]?.doubleValue ?? 9) }
  }
  // Few experts can lie as evenly as they can already.
  #expect(sum("after") < sum("before") || name == "tiny-mixtral" && sum("after") == sum("before"))
  let report = try Validation.run(
    .init(original: source, patched: directory.path("out"), calibration: [ids], threads: 2),
    progress: Silent())
  let nll = try #require(report.json["nll"])
  let (before, after) = (nll["original"]?.doubleValue ?? 0, nll["patched"]?.doubleValue ?? 9)
  #expect(abs(before - after) < 1e-5, "\(before) and \(after)")
  for layer in report.layers { #expect(layer.agreement.overlap > 0.9999) }
}

@Test func `an importance matrix is enough to renumber`() throws {
  let directory = try TemporaryDirectory()
  let gguf = fixtures.appending(path: "tiny-qwen3-moe-data/qwen3-moe-Q8_0.gguf")
  let model = try Model.open(gguf.path(percentEncoded: false))
  let layer = try #require(model.layout.layers.first)
  let counts = (0..<layer.rule.experts).map { Float(1000 / ($0 + 1) * layer.rule.topK) }
  let path = try directory.write(
    imatrix(layers: model.layout.layers.map(\.index), counts: counts), to: "load.gguf")
  var request = ConvertRequest(
    checkpoint: gguf.path(percentEncoded: false), output: directory.path("out.gguf"), threads: 2)
  request.routes = false
  request.places = true
  request.imatrix = path
  request.ranks = [2]
  let result = try Conversion(request, progress: Silent()).run()
  #expect((result.json["placement"]?["2"]?["before"]?.doubleValue ?? 0) > 1.3)
  #expect((result.json["placement"]?["2"]?["after"]?.doubleValue ?? 9) < 1.1)

  // The same load for SGLang, with two experts doubled.
  var plan = ConvertRequest(checkpoint: gguf.path(percentEncoded: false), threads: 2)
  plan.imatrix = path
  plan.ranks = [2]
  plan.redundantExperts = 2
  plan.expertLocations = directory.path("eplb.json")
  _ = try Conversion(plan, progress: Silent()).run()
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

/// A GGUF importance matrix with the same counts in every layer.
private func imatrix(layers: [Int], counts: [Float]) -> [UInt8] {
  var draft = GGUFDraft(keys: [
    GGUFDraft.pair("general.type", 8, GGUFDraft.string("imatrix")),
    GGUFDraft.pair("imatrix.chunk_count", 4, GGUFDraft.number(UInt32(1))),
    GGUFDraft.pair("imatrix.chunk_size", 4, GGUFDraft.number(UInt32(512))),
  ])
  var data: [UInt8] = []
  for layer in layers {
    for part in ["gate", "up", "down"] {
      for (suffix, shape, values) in [
        ("in_sum2", [Int64(1), Int64(counts.count)], counts.map { _ in Float(1) }),
        ("counts", [1, Int64(counts.count)], counts),
      ] {
        draft.tensors.append(
          GGUFDraft.tensor(
            "blk.\(layer).ffn_\(part)_exps.weight.\(suffix)", shape, type: 0,
            offset: UInt64(data.count)))
        data += PlainType.f32.bytes(values)
        data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
      }
    }
  }
  return draft.bytes + data
}
