// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Checkpoints
import Forms
import Foundation
import RegateKit
import Routing
import TestSupport
import Testing

extension Workbench {
  /// Verifies the output `name` against what its own manifest plans and its own routers hold.
  fileprivate func verify(
    _ name: String, routers: [PrototypeRouter], maps: [[Int]]
  ) throws -> Verification.Result {
    let model = try Model.open(source)
    let patches = try model.layout.layers.enumerated().map { place, layer in
      LayerPatch(
        layer: layer, physicalToLogical: maps[place],
        router: RouterTensors(
          replacing: layer,
          by: try PrototypeRouterFormat.tensors(of: routers[place], gate: layer.gate.name)))
    }
    let output: any Checkpoint =
      isGGUF
      ? try GGUFCheckpoint(path: output(name)) : try SafetensorsCheckpoint(path: output(name))
    return try Verification(
      original: model.checkpoint, output: output, patches: patches
    ).run()
  }

  /// Flips one bit in the middle of a tensor of an output.
  fileprivate func damage(_ tensor: String, of name: String) throws {
    let range: Range<Int>
    let path: String
    let checkpoint: any Checkpoint =
      isGGUF
      ? try GGUFCheckpoint(path: output(name)) : try SafetensorsCheckpoint(path: output(name))
    let info = try checkpoint.tensor(tensor)
    range = info.range
    path = checkpoint.files[info.file].path
    let file = try FileHandle(forUpdating: URL(filePath: path))
    let place = UInt64(range.lowerBound + range.count / 2)
    try file.seek(toOffset: place)
    let byte = try #require(try file.read(upToCount: 1)?.first)
    try file.seek(toOffset: place)
    try file.write(contentsOf: Data([byte ^ 0x10]))
    try file.close()
  }
}

@Test(arguments: [Sample.mixtralByLayer, Sample.qwen3Fused, Sample.deepseekFP8])
func `verification finds a flipped bit in any tensor of a prototype output`(
  _ sample: Sample
) throws {
  let bench = try Workbench.converted(sample).copy()
  let patched = try Model.open(bench.output("out"))
  let routers = try patched.layout.layers.map { layer in
    if case .prototype(let router) = try patched.router(of: layer) {
      return router
    }
    throw RegateError(.mismatch, "no prototype router")
  }
  let maps = try bench.claimedMaps("out")
  let result = try bench.verify("out", routers: routers, maps: maps)
  let original = try bench.weights()
  let others = original.tensors.keys.filter { bench.model.part($0) == .other }.count
  #expect(result.identicalTensors >= others)
  let tensors = try bench.weights("out").tensors.keys.sorted()
  for name in stride(from: 0, to: tensors.count, by: 7).map({ tensors[$0] })
    + tensors.filter({ $0.contains("physical_to_logical") || $0.contains(".gate.weight") })
  {
    try bench.damage(name, of: "out")
    let error = #expect(throws: RegateError.self, "\(name)") {
      _ = try bench.verify("out", routers: routers, maps: maps)
    }
    #expect(error?.subject == name)
    // The same bit again: all is well.
    try bench.damage(name, of: "out")
  }
  _ = try bench.verify("out", routers: routers, maps: maps)
  // A plan of other clones is not what was written.
  var otherMaps = maps
  let clone = try #require(maps[0].indices.first { maps[0][$0] != $0 })
  otherMaps[0][clone] = clone
  #expect(throws: RegateError.self) {
    _ = try bench.verify("out", routers: routers, maps: otherMaps)
  }
}

/// A place in which nothing can be made, even by root.
private let unwritable = FileManager.default.fileExists(atPath: "/proc/self") ? "/proc" : "/System"

@Test func `an output that cannot be made leaves nothing`() throws {
  let bench = try Workbench(Sample.qwen3, tokens: 300)
  let before = try fileTree(bench.directory.url)
  let long = String(repeating: "n", count: 250)
  for output in [unwritable + "/regate-output", bench.directory.path(long)] {
    let error = #expect(throws: RegateError.self) {
      try bench.convert(to: nil) { $0.output = .checkpoint(.copy(to: output)) }
    }
    #expect(error?.code == .io)
    #expect(!FileManager.default.fileExists(atPath: output))
  }
  #expect(try fileTree(bench.directory.url) == before)
}
