// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import TestSupport
import Testing

private let first = "model-00001-of-00002.safetensors"
private let second = "model-00002-of-00002.safetensors"
private let indexName = SafetensorsIndex.fileName

private func shard(_ names: String...) -> [UInt8] {
  let entries = names.enumerated().map { entryText($1, 4 * $0, 4 * $0 + 4) }
  return safetensorsBytes("{" + entries.joined(separator: ",") + "}", data: 4 * names.count)
}

private let index = Array(
  #"{"metadata":{"total_size":12},"weight_map":{"z":"\#(second)","a":"\#(first)","b":"\#(first)"}}"#
    .utf8)

private func writeSharded(_ directory: TemporaryDirectory) throws {
  try directory.write(shard("b", "a"), to: first)
  try directory.write(shard("z"), to: second)
  try directory.write(index, to: indexName)
  try directory.write(Array(#"{"model_type":"mixtral"}"#.utf8), to: "config.json")
}

@Test func `a sharded checkpoint is read by its index`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  for path in [directory.path(""), String(directory.path("").dropLast())] {
    let checkpoint = try SafetensorsCheckpoint(path: path)
    #expect(checkpoint.path == path && checkpoint.container == .safetensors)
    #expect(Array(checkpoint.tensors.keys) == ["b", "a", "z"])
    #expect(checkpoint.tensors["z"]?.file == 1 && checkpoint.partNames == [first, second])
    #expect(checkpoint.files.map(\.path) == [first, second].map { directory.path($0) })
    #expect(checkpoint.config?["model_type"]?.stringValue == "mixtral")
    #expect(checkpoint.index?.weightMap["z"] == second && checkpoint.index?.totalSize == 12)
    #expect(checkpoint.sideFiles == ["config.json"] && checkpoint.warnings.isEmpty)
    #expect(try checkpoint.withBytes(of: checkpoint.tensor("z")) { $0.byteCount } == 4)
  }
}

@Test func `a single file wins over an index and says so`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  try directory.write(shard("whole"), to: "model.safetensors")
  let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
  #expect(Array(checkpoint.tensors.keys) == ["whole"] && checkpoint.index == nil)
  #expect(checkpoint.warnings.count == 2 && checkpoint.warnings[0].contains("index is ignored"))
  #expect(checkpoint.otherWeights == [first, second])
  #expect(checkpoint.sideFiles == ["config.json"])
}

@Test func `shards without an index are read together`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  try FileManager.default.removeItem(atPath: directory.path(indexName))
  try FileManager.default.removeItem(atPath: directory.path("config.json"))
  let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
  #expect(Array(checkpoint.tensors.keys) == ["b", "a", "z"])
  #expect(checkpoint.index == nil && checkpoint.config == nil && checkpoint.warnings.isEmpty)
}

@Test func `a single file is read with the configuration beside it`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  let part = try SafetensorsCheckpoint(path: directory.path(second))
  #expect(Array(part.tensors.keys) == ["z"])
  #expect(part.config?["model_type"]?.stringValue == "mixtral")
  #expect(part.warnings.contains { $0.contains("is one of 2 shards") })
  #expect(part.sideFiles == ["config.json"])

  let alone = try TemporaryDirectory()
  try alone.write(shard("a"), to: "any name.safetensors")
  try alone.write([1], to: "letter.txt")
  let file = try SafetensorsCheckpoint(path: alone.path("any name.safetensors"))
  #expect(
    file.config == nil && file.sideFiles.isEmpty && file.partNames == ["any name.safetensors"])
  #expect(file.directory + "/" == alone.path(""))
}

@Test func `the links of the hub cache are read through`() throws {
  let directory = try TemporaryDirectory()
  let manager = FileManager.default
  for folder in ["blobs", "snapshots/main/sub"] {
    try manager.createDirectory(
      atPath: directory.path(folder), withIntermediateDirectories: true)
  }
  let files = [
    first: shard("b", "a"), second: shard("z"), indexName: index, "config.json": Array("{}".utf8),
    "sub/tokenizer.model": [7],
  ]
  for (number, (name, bytes)) in files.enumerated() {
    try directory.write(bytes, to: "blobs/\(number)")
    let up = name.contains("/") ? "../../../" : "../../"
    try manager.createSymbolicLink(
      atPath: directory.path("snapshots/main/" + name), withDestinationPath: up + "blobs/\(number)")
  }
  let checkpoint = try SafetensorsCheckpoint(path: directory.path("snapshots/main"))
  #expect(checkpoint.tensors.count == 3 && checkpoint.config == [:])
  #expect(checkpoint.sideFiles == ["config.json", "sub/tokenizer.model"])
}

@Test func `side files are listed without weights and hidden folders`() throws {
  let directory = try TemporaryDirectory()
  for folder in [".git/lfs", "original", "code"] {
    try FileManager.default.createDirectory(
      atPath: directory.path(folder), withIntermediateDirectories: true)
  }
  try FileManager.default.createSymbolicLink(
    atPath: directory.path("code/loop"), withDestinationPath: "..")
  for name in [
    "README.md", ".gitattributes", "tokenizer.json", "code/modeling.py", ".git/lfs/x",
    "original/consolidated.00.pth", "pytorch_model-00001-of-00002.bin", "training_args.bin",
  ] {
    try directory.write([1], to: name)
  }
  try directory.write(shard("a"), to: "model.safetensors")
  let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
  #expect(
    checkpoint.sideFiles
      == [".gitattributes", "README.md", "code/modeling.py", "tokenizer.json", "training_args.bin"])
  #expect(
    checkpoint.otherWeights
      == ["original/consolidated.00.pth", "pytorch_model-00001-of-00002.bin"])
  #expect(checkpoint.warnings.count == 1)
}

@Test func `a total size that is not the tensors' is worth a warning`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  let text = String(decoding: index, as: UTF8.self)
  try directory.write(
    Array(text.replacingOccurrences(of: "12}", with: "13}").utf8), to: indexName)
  #expect(
    try SafetensorsCheckpoint(path: directory.path("")).warnings
      == ["\(indexName) gives total_size 13, but the tensors have 12 bytes"])
  try directory.write(
    Array(text.replacingOccurrences(of: "12}", with: "null}").utf8), to: indexName)
  #expect(try SafetensorsCheckpoint(path: directory.path("")).warnings.isEmpty)
}

// The outcomes are those of transformers 5.23, which was run on checkpoints of the same forms.

@Test func `tensors are read from the shards whatever the index says of them`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  func warnings(_ map: String, _ total: Int = 12) throws -> [String] {
    try directory.write(
      Array(#"{"metadata":{"total_size":\#(total)},"weight_map":{\#(map)}}"#.utf8), to: indexName)
    let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
    #expect(Array(checkpoint.tensors.keys) == ["b", "a", "z"])
    #expect(checkpoint.tensors["z"]?.file == 1 && checkpoint.partNames == [first, second])
    return checkpoint.warnings
  }
  let plain = #""a":"\#(first)","b":"\#(first)","z":"\#(second)""#
  #expect(try warnings(plain).isEmpty)
  #expect(try warnings(plain.replacingOccurrences(of: #":""#, with: #":"./"#)).isEmpty)
  #expect(try warnings(plain.replacingOccurrences(of: #":""#, with: #":".//./"#)).isEmpty)
  let extra = try warnings(plain + #","c":"\#(first)""#, 16)
  #expect(extra.count == 1 && extra[0].contains("1 tensor no shard holds (such as c)"))
  let other = try warnings(#""a":"\#(second)","b":"\#(first)","z":"\#(first)""#)
  #expect(other.count == 1 && other[0].contains("2 tensors lie in another shard"))
  let less = try warnings(#""a":"\#(first)","z":"\#(second)""#, 8)
  #expect(less.count == 1 && less[0].contains("1 tensor it does not name (such as b)"))
  let twice = try warnings(#""a":"x","# + plain)
  #expect(twice.count == 1 && twice[0].contains("the key weight_map.a is there twice"))
}

@Test func `of a tensor in two indexed shards the later one counts`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  try directory.write(shard("z", "a"), to: second)
  let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
  #expect(Array(checkpoint.tensors.keys) == ["b", "z", "a"] && checkpoint.tensors["a"]?.file == 1)
  #expect(checkpoint.warnings.first?.contains("a in \(first) and \(second)") == true)
}

@Test func `a configuration is read as Python reads it`() throws {
  let directory = try TemporaryDirectory()
  try writeSharded(directory)
  try directory.write(
    Array(#"{"k": 1, "limit": [0.0, Infinity], "k": 2}"#.utf8), to: "config.json")
  let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
  #expect(checkpoint.config?["k"] == 2)
  #expect(
    checkpoint.warnings.first?.contains("config.json: limit is Infinity; the key k is") == true)
}

@Test func `96 GB of sparse shards open without reading their data`() throws {
  let directory = try TemporaryDirectory()
  let size = 32 << 30
  var map: [String] = []
  for number in 1...3 {
    let name = "model-0000\(number)-of-00003.safetensors"
    let header = safetensorsBytes(
      "{" + entryText("w\(number)", "U8", shape: "[\(size)]", 0, size) + "}")
    let path = try directory.write(header, to: name)
    let handle = try FileHandle(forUpdating: URL(filePath: path))
    try handle.truncate(atOffset: UInt64(header.count + size))
    try handle.close()
    map.append(#""w\#(number)":"\#(name)""#)
  }
  try directory.write(
    Array(#"{"weight_map":{\#(map.joined(separator: ","))}}"#.utf8), to: indexName)
  let start = ContinuousClock.now
  let checkpoint = try SafetensorsCheckpoint(path: directory.path(""))
  // Reading 96 GB takes many seconds on any machine.
  #expect(ContinuousClock.now - start < .seconds(2))
  #expect(checkpoint.tensors.values.reduce(0) { $0 + $1.range.count } == 3 * size)
}

@Test func `of a hub's cache the folder with the weights is named`() throws {
  let directory = try TemporaryDirectory()
  let snapshot = "models--a--b/snapshots/0123"
  try FileManager.default.createDirectory(
    atPath: directory.path(snapshot), withIntermediateDirectories: true)
  try directory.write(shard("a"), to: snapshot + "/model.safetensors")
  let error = #expect(throws: RegateError.self) {
    try SafetensorsCheckpoint(path: directory.path("models--a--b"))
  }
  #expect(error?.advice?.hasSuffix("give the folder \(directory.path(snapshot))") == true)
}
