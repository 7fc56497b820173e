// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

private func golden(_ name: String) throws -> SafetensorsFile {
  try SafetensorsFile(
    path: fixtures.appending(path: "safetensors/\(name).safetensors").path(percentEncoded: false))
}

private let types = ElementType.allCases.filter { ElementType(safetensors: $0.rawValue) != nil }

@Test(arguments: ["dtypes", "shapes", "one", "empty"])
func `a header is rebuilt to the official writer's bytes`(name: String) throws {
  let file = try golden(name)
  #expect(try file.header.serialised() == file.headerBytes)
  var random = SeededGenerator(seed: 5)
  let shuffled = file.header.entries.map { ($0.name, $0.type, $0.shape) }.shuffled(using: &random)
  let rebuilt = try SafetensorsHeader(shuffled, metadata: file.metadata)
  #expect(try rebuilt.serialised() == file.headerBytes)
  #expect(rebuilt == file.header)
}

@Test func `the official writer's dtypes are read`() throws {
  let file = try golden("dtypes")
  #expect(
    file.metadata.map { Dictionary(uniqueKeysWithValues: $0.map { ($0, $1) }) }
      == ["format": "pt", "note": "tab\t, \"quotes\", é"])
  #expect(Set(file.tensors.map(\.type)) == Set(types).subtracting([.f6e2m3, .f6e3m2]))
  for tensor in file.tensors {
    #expect(tensor.shape == [2, 4])
    #expect(try file.file.bytes(in: tensor.range) == (0..<UInt8(tensor.type.blockBits)).map { $0 })
  }
}

@Test func `scalars, empty tensors and unusual names are read`() throws {
  let file = try golden("shapes")
  let shapes = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name, $0.shape) })
  #expect(file.metadata == nil)
  #expect(shapes["scalar"] == [] && shapes["none"] == [0] && shapes["no.rows"] == [3, 0, 2])
  #expect(shapes["é\n\"\\/\u{7F}\u{1}"] == [1] && shapes["😀"] == [1])
  #expect(try golden("empty").tensors.isEmpty)
  #expect(try golden("empty").metadata == nil && golden("one").metadata == [:])
}

/// Random tensors of every type whose bytes are whole.
private func randomTensors(
  _ random: inout SeededGenerator
) -> [(name: String, type: ElementType, shape: [Int], bytes: [UInt8])] {
  (0..<Int.random(in: 0...12, using: &random)).map { number in
    let type = types.randomElement(using: &random) ?? .f32
    let shape =
      (0..<Int.random(in: 0...3, using: &random)).map { _ in
        Int.random(in: 0...3, using: &random)
      } + (type.blockBits < 8 ? [4] : [])
    let count = type.byteCount(of: shape.reduce(1, *)) ?? 0
    let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    let stem = ["w", "é", "\"", "layers.\(number % 3)"].randomElement(using: &random) ?? ""
    return ("\(stem).\(number)", type, shape, bytes)
  }
}

@Test(arguments: 0..<16)
func `tensors read back as they were written`(seed: Int) throws {
  var random = SeededGenerator(seed: UInt64(seed))
  let tensors = randomTensors(&random)
  let metadata: OrderedDictionary<String, String>? =
    Bool.random(using: &random)
    ? ["z": "1", "a": "\n"] : nil
  let order = Bool.random(using: &random) ? SafetensorsHeader.Order.official : .given
  let directory = try TemporaryDirectory()
  let path = directory.path("x.safetensors")
  try SafetensorsWriter.write(
    tensors.map { .init(name: $0.name, type: $0.type, shape: $0.shape, bytes: $0.bytes) },
    metadata: metadata, order: order, to: .file(path))
  let file = try SafetensorsFile(path: path, index: 3)
  #expect(file.metadata == metadata)
  #expect(metadata.map { Array($0.keys) } == file.metadata.map { Array($0.keys) })
  if order == .given { #expect(file.tensors.map(\.name) == tensors.map(\.name)) }
  #expect(file.dataStart % 8 == 0 && file.tensors.count == tensors.count)
  for tensor in tensors {
    let read = try #require(file.tensors.first { $0.name == tensor.name })
    #expect(read.type == tensor.type && read.shape == tensor.shape && read.file == 3)
    #expect(try file.file.bytes(in: read.range) == tensor.bytes)
  }
}

@Test func `the official order is by rank and then by bytes`() throws {
  let header = try SafetensorsHeader([
    ("é", .f32, []), ("z", .f32, []), ("b", .bf16, []), ("a", .f16, []), ("m", .i64, []),
    ("B", .f32, []), ("e\u{301}x", .f32, []),
  ])
  #expect(header.entries.map(\.name) == ["m", "B", "e\u{301}x", "z", "é", "b", "a"])
}

@Test func `headers that foreign writers order and pad otherwise are read`() throws {
  let directory = try TemporaryDirectory()
  let header =
    "{\(entryText("b", 4, 8)), \(entryText("a", 0, 4)), \"__metadata__\": {\"k\": \"v\"}}\n "
  let path = try directory.write(safetensorsBytes(header, data: 8), to: "x.safetensors")
  let file = try SafetensorsFile(path: path)
  #expect(file.tensors.map(\.name) == ["a", "b"] && file.metadata == ["k": "v"])
}

@Test func `headers that no file may have cannot be made`() {
  let refused: [[(name: String, type: ElementType, shape: [Int])]] = [
    [("a", .f32, [1]), ("a", .f32, [2])], [("__metadata__", .f32, [1])], [("a", .q4_0, [32])],
    [("a", .f4, [3])], [("a", .f32, [.max, 2])], [("a", .f32, [-1])],
    [("a", .u8, [1 << 59]), ("b", .u8, [1 << 59])].flatMap { [$0, ($0.0 + "x", $0.1, $0.2)] }
      + (0..<16).map { ("c\($0)", .u8, [1 << 59]) },
  ]
  for tensors in refused {
    #expect(throws: RegateError.self, "\(tensors)") { try SafetensorsHeader(tensors) }
  }
}

@Test func `a tensor of the wrong length leaves no file behind`() throws {
  let directory = try TemporaryDirectory()
  let path = directory.path("x.safetensors")
  let error = #expect(throws: RegateError.self) {
    try SafetensorsWriter.write(
      [.init(name: "a", type: .f32, shape: [2], bytes: [1, 2, 3])], to: .file(path))
  }
  #expect(error?.description.contains("F32 [2] needs 8 bytes, but 3 were made") == true)
  #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path("")).isEmpty)
}

@Test func `a file is replaced only on request, even while it is mapped`() throws {
  let directory = try TemporaryDirectory()
  let path = directory.path("x.safetensors")
  func write(_ byte: UInt8, overwrite: Bool) throws {
    try SafetensorsWriter.write(
      [.init(name: "a", type: .u8, shape: [1], bytes: [byte])],
      to: .file(path, overwrite: overwrite))
  }
  try write(1, overwrite: false)
  let mapped = try SafetensorsFile(path: path)
  #expect(throws: RegateError.self) { try write(2, overwrite: false) }
  try write(3, overwrite: true)
  #expect(try mapped.file.bytes(in: mapped.tensors[0].range) == [1])
  let replaced = try SafetensorsFile(path: path)
  #expect(try replaced.file.bytes(in: replaced.tensors[0].range) == [3])
}

@Test func `damaged headers are refused or still cover the file exactly`() throws {
  let file = try golden("dtypes")
  let header = Array(try file.headerBytes.dropFirst(8))
  let dataCount = file.file.count - file.dataStart
  var random = SeededGenerator(seed: 17)
  var accepted = 0
  for _ in 0..<5_000 {
    var damaged = header
    let place = Int.random(in: damaged.indices, using: &random)
    damaged[place] =
      Bool.random(using: &random)
      ? UInt8.random(in: 0...255, using: &random) : UInt8.random(in: 0x30...0x39, using: &random)
    guard let parsed = try? SafetensorsHeader(parsing: damaged, dataCount: dataCount, file: "t")
    else { continue }
    accepted += 1
    var end = 0
    for entry in parsed.entries {
      #expect(entry.range.lowerBound == end)
      #expect(entry.type.byteCount(of: entry.shape.reduce(1, *)) == entry.range.count)
      end = entry.range.upperBound
    }
    #expect(end == dataCount)
  }
  #expect(accepted > 0)
}
