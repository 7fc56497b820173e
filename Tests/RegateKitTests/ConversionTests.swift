// SPDX-License-Identifier: Apache-2.0
//
// What a conversion writes, compared byte by byte with the original by code of the tests' own.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

/// The names that the prototype form gives a router, after `gate.`.
private let prototypeNames: Set<String> = [
  "weight", "logical_prototypes", "logit_bias", "selection_bias", "token_bias",
  "physical_to_logical", "clone_prototypes", "clone_bias",
]

extension Workbench {
  /// Everything but routers must be the original's, in the original's shard, with the experts that
  /// `maps` names.
  func requireSameButRouters(_ name: String, maps: [[Int]]) throws {
    let before = try weights()
    let after = try weights(name)
    for (tensor, old) in before.tensors where model.part(tensor) == .other {
      let new = try #require(after.tensors[tensor], "\(tensor)")
      #expect(new.bytes == old.bytes && new.type == old.type && new.shape == old.shape, "\(tensor)")
    }
    var clones = 0
    for (layer, map) in zip(model.layers, maps) {
      try #require(map.count == model.experts)
      let old = model.experts(of: layer.index, in: before)
      let new = model.experts(of: layer.index, in: after)
      for (physical, logical) in map.enumerated() {
        #expect(!old[physical].isEmpty)
        #expect(new[physical] == old[logical], "layer \(layer.index), expert \(physical)")
        if physical != logical { clones += 1 }
      }
    }
    #expect(clones > 0, "the sample is too even to test clones")
  }
}

@Test(arguments: Sample.safetensors)
func `a prototype output differs in routers and clones only`(_ sample: Sample) throws {
  let bench = try Workbench.converted(sample)
  // The source is what a fresh one is: no conversion touches it.
  let fresh = try Workbench(sample)
  #expect(try fileTree(bench.sourceFolder) == fileTree(fresh.sourceFolder))
  try bench.requireSameButRouters("out", maps: bench.claimedMaps("out"))

  let before = try bench.weights()
  let after = try bench.weights("out")
  let added = Set(after.tensors.keys).subtracting(before.tensors.keys)
  for name in added {
    #expect(prototypeNames.contains(String(name.split(separator: ".").last ?? "")), "\(name)")
  }
  for layer in bench.model.layers {
    let router = after.tensors.filter { bench.model.part($0.key) == .router(layer: layer.index) }
    #expect(Set(router.keys.map { String($0.split(separator: ".")[5]) }) == prototypeNames)
    #expect(Set(router.values.map(\.file)) == ["model-regate-router.safetensors"])
  }
  // A shard's metadata stay, and its whole header where it lost no tensor.
  let renamed = { (name: String) in
    name == "model.safetensors" ? "model-00001-of-00001.safetensors" : name
  }
  for (file, header) in before.headers {
    #expect(after.metadata[renamed(file)] == ["format": "pt", "origin": "test"])
    let loses = before.tensors.contains { name, tensor in
      if case .router = bench.model.part(name) { tensor.file == file } else { false }
    }
    #expect((after.headers[renamed(file)] == header) == !loses)
  }
}

@Test(arguments: Sample.safetensors)
func `the index names every tensor's shard and the total size`(_ sample: Sample) throws {
  let bench = try Workbench.converted(sample)
  let after = try bench.weights("out")
  let index = try JSONValue(
    contentsOf: bench.directory.path("out/model.safetensors.index.json"))
  let map = try #require(index["weight_map"]?.objectValue)
  #expect(Set(map.keys) == Set(after.tensors.keys))
  for (name, file) in map { #expect(file.stringValue == after.tensors[name]?.file) }
  let size = after.tensors.values.reduce(0) { $0 + $1.bytes.count }
  #expect(index["metadata"]?["total_size"]?.intValue == size)
  if FileManager.default.fileExists(
    atPath: bench.directory.path("source/model.safetensors.index.json"))
  {
    #expect(index["metadata"]?["note"]?.stringValue == "kept")
  }
}

@Test(arguments: Sample.safetensors)
func `side files are copied and the configuration says what the routers are`(
  _ sample: Sample
) throws {
  let bench = try Workbench.converted(sample)
  let before = try fileTree(bench.sourceFolder)
  let after = try fileTree(bench.folder("out"))
  for name in ["tokenizer.json", "original/blob.dat"] {
    #expect(after[name] != nil && after[name] == before[name])
  }
  var old = try JSONValue(contentsOf: bench.directory.path("source/config.json"))
  var new = try JSONValue(contentsOf: bench.directory.path("out/config.json"))
  let type = try #require(old["model_type"]?.stringValue)
  #expect(new["model_type"]?.stringValue == "regate_" + type)
  #expect(new["regate"]?["version"]?.intValue == 4)
  #expect(new["regate"]?["base_model_type"]?.stringValue == type)
  let sizes = try #require(new["regate"]?["latent_size"]?.objectValue)
  let weights = try bench.weights("out")
  #expect(sizes.count == bench.model.layers.count)
  for layer in bench.model.layers {
    let encoder = weights.tensors.first {
      bench.model.part($0.key) == .router(layer: layer.index) && $0.key.hasSuffix(".gate.weight")
    }
    #expect(encoder?.value.shape == [bench.model.hidden, sizes["\(layer.index)"]?.intValue ?? 0])
  }
  // The classes that load it are in files beside it.
  let classes = try #require(new["auto_map"]?.objectValue)
  for name in classes.values.compactMap(\.stringValue) {
    let file = String(try #require(name.split(separator: ".").first)) + ".py"
    #expect(after[file] != nil, "\(name)")
  }
  #expect(
    new["architectures"]?.arrayValue?.first?.stringValue
      == classes["AutoModelForCausalLM"]?.stringValue?.split(separator: ".").last.map(String.init))
  if let activation = new["regate"]?["hidden_act"] {
    #expect(type == "mixtral" && activation == old["hidden_act"] ?? "silu")
    old["hidden_act"] = nil
    new["hidden_act"] = nil
  }
  // All other keys, of any kind, stay.
  for key in ["regate", "model_type", "architectures", "auto_map"] {
    old[key] = nil
    new[key] = nil
  }
  #expect(old == new)
}

@Test(arguments: Sample.safetensors + Sample.gguf)
func `the manifest's hashes are those of the files`(_ sample: Sample) throws {
  let bench = try Workbench(sample, tokens: 192)
  _ = try bench.convertKnown(to: "out", form: nil)
  let manifest = try bench.manifest("out")
  var tree = try fileTree(bench.folder("out"))
  for entry in try #require(manifest["files"]?.arrayValue) {
    let name = try #require(entry["name"]?.stringValue)
    let data = try #require(tree[name], "\(name)")
    tree[name] = nil
    #expect(entry["bytes"]?.intValue == data.count)
    #expect(entry["sha256"]?.stringValue == naiveSHA256([UInt8](data)), "\(name)")
  }
  #expect(
    tree.keys.filter { !$0.hasSuffix("/") } == [bench.isGGUF ? "out.regate.json" : "regate.json"])
}
