// SPDX-License-Identifier: Apache-2.0
//
// The stock form, from a fit file whose gates the test knows beforehand.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import TestSupport
import Testing

extension Workbench {
  /// The stored type of a router tensor: a BF16 bias becomes F32.
  private func type(_ tensor: PlainCheckpoint.Tensor, isBias: Bool) -> PlainType {
    isBias || tensor.type == "F32" || tensor.type == "0" ? .f32 : .bf16
  }

  fileprivate func requireRouters(_ name: String, _ stock: StockGates) throws {
    let before = try weights()
    let after = try weights(name)
    #expect(Set(before.tensors.keys) == Set(after.tensors.keys))
    for (place, layer) in model.layers.enumerated() {
      for (tensor, old) in before.tensors where model.part(tensor) == .router(layer: layer.index) {
        let isBias = tensor.contains("bias") || tensor.contains("exp_probs_b")
        let values = isBias ? stock.biases[place] ?? [] : stock.gates[place]
        let new = try #require(after.tensors[tensor])
        #expect(new.bytes == type(old, isBias: isBias).bytes(values), "\(tensor)")
        #expect(new.shape == old.shape)
        #expect(new.type == (isBias && old.type == "BF16" ? "F32" : old.type))
      }
    }
  }
}

@Test(arguments: Sample.safetensors)
func `a stock output keeps names, shards, headers and configuration`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let source = try fileTree(bench.sourceFolder)
  let known = try bench.convertKnown(to: "out")
  #expect(try fileTree(bench.sourceFolder) == source)
  try bench.requireSameButRouters("out", maps: known.maps)
  try bench.requireRouters("out", known.stock)

  let after = try fileTree(bench.folder("out"))
  #expect(Set(after.keys) == Set(source.keys).union(["regate.json", "README.md"]))
  let before = try bench.weights()
  let weights = try bench.weights("out")
  #expect(weights.metadata == before.metadata)
  for (name, tensor) in before.tensors { #expect(weights.tensors[name]?.file == tensor.file) }
  // Only a shard whose bias was widened gets another header.
  for (file, header) in before.headers {
    let widened = before.tensors.contains {
      $1.file == file && $1.type == "BF16" && $0.hasSuffix("_bias")
    }
    #expect((weights.headers[file] == header) == !widened, "\(file)")
  }
  for name in ["config.json", "tokenizer.json", "original/blob.dat"] {
    #expect(after[name] == source[name])
  }
  guard source["model.safetensors.index.json"] != nil else { return }
  let old = try JSONValue(
    contentsOf: bench.directory.path("source/model.safetensors.index.json"))
  var new = try JSONValue(contentsOf: bench.directory.path("out/model.safetensors.index.json"))
  #expect(
    new["metadata"]?["total_size"]?.intValue
      == weights.tensors.values.reduce(0) { $0 + $1.bytes.count })
  var metadata = try #require(new["metadata"])
  metadata["total_size"] = old["metadata"]?["total_size"]
  new["metadata"] = metadata
  #expect(new["weight_map"]?.objectValue?.count == old["weight_map"]?.objectValue?.count)
  for (name, file) in try #require(old["weight_map"]?.objectValue) {
    #expect(new["weight_map"]?[name] == file)
  }
  #expect(new["metadata"]?["note"] == "kept")
}

@Test(arguments: Sample.gguf)
func `a GGUF output keeps keys, tensors and splits`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  let source = try fileTree(bench.sourceFolder)
  let known = try bench.convertKnown(to: "out")
  #expect(try fileTree(bench.sourceFolder) == source)
  try bench.requireSameButRouters("out", maps: known.maps)
  try bench.requireRouters("out", known.stock)

  let before = try bench.weights()
  let after = try bench.weights("out")
  for (key, value) in before.keys { #expect(after.keys[key] == value, "\(key)") }
  let added = Set(after.keys.keys).subtracting(before.keys.keys)
  #expect(added.isSuperset(of: ["regate.version", "regate.router", "regate.source"]))
  #expect(added.allSatisfy { $0.hasPrefix("regate.") })
  let parts = try fileTree(bench.folder("out")).keys.filter { $0.hasSuffix(".gguf") }.sorted()
  let names =
    source.count == 1 ? ["out.gguf"] : ["out-00001-of-00002.gguf", "out-00002-of-00002.gguf"]
  #expect(parts == names)
  // A tensor stays in its part.
  for (name, tensor) in before.tensors {
    #expect(
      after.tensors[name]?.file.suffix(19)
        == (source.count == 1 ? "out.gguf" : tensor.file.suffix(19)))
  }
  // Data move by whole blocks of the file system, so that copies can share them.
  for (file, header) in before.headers {
    let other = source.count == 1 ? "out.gguf" : "out" + file.dropFirst("model".count)
    let moved = (after.headers[other]?.count ?? 0) - header.count
    #expect(moved % 4096 == 0, "\(file) moves by \(moved)")
  }
}

@Test func `what a GGUF file goes on with after its tensors is not copied`() throws {
  let bench = try Workbench(Sample.ggufQwen3F16, tokens: 192)
  try bench.convert(to: "out")
  let file = try FileHandle(forUpdating: URL(filePath: bench.source))
  try file.seekToEnd()
  try file.write(contentsOf: Data(repeating: 7, count: 1000))
  try file.close()
  try bench.convert(to: "again")
  #expect(try bench.bytes("again/out.gguf") == bench.bytes("out/out.gguf"))
}

@Test func `a single safetensors file becomes a single file`() throws {
  let bench = try Workbench(Sample(.qwen3, .file(.init(.single))), tokens: 192)
  let fit = try bench.convertKnown(to: nil) {
    $0.output = .checkpoint(.copy(to: bench.directory.path("patched.safetensors")))
  }
  let after = try PlainCheckpoint(
    safetensors: bench.directory.url.appending(path: "patched.safetensors"))
  let before = try bench.weights()
  #expect(after.headers["patched.safetensors"] == before.headers["model.safetensors"])
  for (place, layer) in bench.model.layers.enumerated() {
    #expect(
      after.tensors["model.layers.\(layer.index).mlp.gate.weight"]?.bytes
        == PlainType.bf16.bytes(fit.stock.gates[place]))
    #expect(
      bench.model.experts(of: layer.index, in: after)
        == fit.maps[place].map { bench.model.experts(of: layer.index, in: before)[$0] })
  }
  #expect(FileManager.default.fileExists(atPath: bench.directory.path("patched.regate.json")))
}

@Test(arguments: SyntheticModel.Family.allCases)
func `a fit of the safetensors model gives its GGUF the same stock routers`(
  _ family: SyntheticModel.Family
) throws {
  let bench = try Workbench(Sample(family, .directory(.init(.byLayer))), tokens: 192)
  let fit = try bench.stockFit()
  for type in [PlainType.f16, .q8_0] {
    let folder = bench.folder("gguf-\(type.rawValue)")
    let gguf = try bench.model.writeGGUF(.init(type), to: folder)
    let output = bench.directory.path("\(type.rawValue).gguf")
    var draft = ConversionDraft(gguf, calibration: [], to: output)
    draft.fit = fit.path
    _ = try draft.run()
    let after = try PlainCheckpoint(gguf: [URL(filePath: output)])
    for (place, layer) in bench.model.layers.enumerated() {
      #expect(
        after.tensors["blk.\(layer.index).ffn_gate_inp.weight"]?.bytes
          == PlainType.f32.bytes(fit.stock.gates[place]))
    }
  }
}

@Test(arguments: [Sample.mixtralByLayer, Sample.ggufDeepseek])
func `a stock router is fitted and balances what any runtime computes`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 1024)
  try bench.convert(to: "out") { $0.form = .stock }
  try bench.requireSameButRouters("out", maps: bench.claimedMaps("out"))
  let patched = try Model.open(bench.output("out"))
  let before = try Model.open(bench.source)
  #expect(patched.layout.layers.map(\.gate.shape) == before.layout.layers.map(\.gate.shape))
  let report = try bench.validate("out")
  for layer in report.layers {
    let (old, new) = (layer.original.metrics.gini ?? 0, layer.patched.metrics.gini ?? 1)
    #expect(new < 0.7 * old, "\(old) to \(new)")
    #expect(layer.agreement.overlap > 0.5)
  }
}
