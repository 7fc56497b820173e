// SPDX-License-Identifier: Apache-2.0
//
// Routers in types that hold whole blocks of a row, as GGUF quantisers can be told to write them,
// and in F64. llama.cpp multiplies by a router of any block type.

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Foundation
import RegateKit
import Routing
import TestSupport
import Testing

private let blocks = [
  Sample(.mixtral, .gguf(.init(.q8_0, gate: .q8_0))),
  Sample(.deepseek, .gguf(.init(.f16, split: true, gate: .q8_0))),
]
private let doubles = Sample(.deepseek, .directory(.init(.byLayer, gate: .f64, bias: .f64)))

extension Workbench {
  /// The values of the original's routers, or of an output's.
  fileprivate func gates(_ name: String = "source") throws -> [[Float]] {
    let model = try Model.open(name == "source" ? source : first(name))
    return try model.layout.layers.map { try $0.router(from: model.checkpoint).gate.values }
  }

  fileprivate func gateTypes(_ name: String = "source") throws -> Set<String> {
    let model = try Model.open(name == "source" ? source : first(name))
    return Set(model.layout.layers.map { $0.gate.type.rawValue })
  }
}

@Test(arguments: blocks + [doubles])
func `a router is read from any type that holds its numbers`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 64)
  #expect(try bench.gates() == bench.model.layers.map(\.gate))
  let inspected = try Inspection.run(.init(checkpoint: bench.source))
  #expect(inspected.layers.count == bench.model.layers.count)
  let comparison = try Validation.run(
    .init(
      original: bench.source, patched: bench.source, calibration: [bench.capture], threads: 2))
  #expect(comparison.passed)
}

@Test(arguments: blocks + [doubles])
func `rows of such a router are renumbered as they are stored`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 640)
  _ = try PlacementRun.run(
    .init(
      checkpoint: bench.source, load: .traffic([bench.capture], .init()),
      ranks: [sample.family == .deepseek ? 8 : 4],
      output: .checkpoint(.copy(to: bench.output("out"))), threads: 2))
  #expect(try bench.gateTypes("out") == bench.gateTypes())
  let maps = try bench.claimedMaps("out")
  #expect(maps.contains { $0 != Array($0.indices) })
  let (before, after) = (try bench.gates(), try bench.gates("out"))
  let hidden = bench.model.hidden
  for (place, map) in maps.enumerated() {
    let rows = map.map { before[place][$0 * hidden..<($0 + 1) * hidden] }
    #expect(after[place] == Array(rows.joined()))
  }
}

@Test(arguments: blocks)
func `a new router takes the place of one in a block type as F32`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let known = try bench.convertKnown(to: "out")
  #expect(try bench.gateTypes("out") == ["F32"])
  #expect(try bench.gates("out") == known.stock.gates)
  let (before, after) = (try bench.weights(), try bench.weights("out"))
  for (name, tensor) in before.tensors where bench.model.part(name) == .other {
    #expect(after.tensors[name]?.bytes == tensor.bytes, "\(name)")
  }
  for (layer, map) in zip(bench.model.layers, known.maps) {
    let old = bench.model.experts(of: layer.index, in: before)
    #expect(bench.model.experts(of: layer.index, in: after) == map.map { old[$0] })
  }
  let source = try fileTree(bench.sourceFolder)
  let error = #expect(throws: RegateError.self) {
    try bench.convertKnown(to: nil, form: nil) { $0.output = .checkpoint(.inPlace) }
  }
  #expect(error?.description.contains("is stored as Q8_0 and must become F32") == true)
  #expect(try fileTree(bench.sourceFolder) == source)
}

@Test func `a router in F64 keeps its type, in place too`() throws {
  let bench = try Workbench(doubles, tokens: 192)
  let known = try bench.convertKnown(to: "out")
  #expect(try bench.gates("out") == known.stock.gates && bench.gateTypes("out") == ["F64"])
  _ = try bench.convertKnown(to: nil, form: nil) { $0.output = .checkpoint(.inPlace) }
  let (inPlace, out) = (try bench.weights(), try bench.weights("out"))
  for (name, tensor) in out.tensors { #expect(inPlace.tensors[name]?.bytes == tensor.bytes) }
}

@Test func `a router that needs tensors beside it is refused by their names`() throws {
  let bench = try Workbench(Sample(.qwen3, .directory(.init(.single))), tokens: 64)
  let path = bench.directory.path("source/model.safetensors")
  let gate = "model.layers.0.mlp.gate"
  var tensors: [FitTensor] = try bench.weights().tensors.map {
    ($0.key, $0.value.type, $0.value.shape, $0.value.bytes)
  }
  let place = try #require(tensors.firstIndex { $0.name == gate + ".weight" })
  let bytes = [UInt8](repeating: 1, count: tensors[place].shape.reduce(1, *) / 2)
  tensors[place] = (gate + ".weight", "U8", [bytes.count, 1], bytes)
  tensors.append((gate + ".weight.absmax", "F32", [1], [0, 0, 0x80, 0x3F]))
  try writeSafetensorsFile(tensors, metadata: ["format": "pt"], to: path)
  let error = #expect(throws: RegateError.self) { try Model.open(bench.source) }
  #expect(error?.code == .unsupported)
  #expect(error?.description.contains(gate + ".weight") == true)
  #expect(error?.description.contains("absmax") == true)
}
