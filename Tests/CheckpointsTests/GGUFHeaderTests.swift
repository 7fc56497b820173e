// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

@Suite struct GGUFHeaderTests {
  /// A header's file: the given data in the ranges, zeros between them.
  static func file(_ header: GGUFEncodedHeader, _ data: [[UInt8]]) -> [UInt8] {
    var bytes = header.bytes + [UInt8](repeating: 0, count: header.fileBytes - header.dataStart)
    for (range, tensor) in zip(header.ranges, data) { bytes.replaceSubrange(range, with: tensor) }
    return bytes
  }

  @Test(arguments: GGUFFileTests.samples)
  func `an unchanged header gives the same file again, byte for byte`(name: String) throws {
    let path = GGUFFileTests.sample(name)
    let file = try GGUFFile(path: path)
    let encoded = try GGUFHeader(file).encoded()
    let data = try file.tensors.map { try file.file.bytes(in: $0.range) }
    let original = [UInt8](try Data(contentsOf: URL(filePath: path)))
    let firstDifference = zip(Self.file(encoded, data), original).enumerated()
      .first { $1.0 != $1.1 }?.offset
    #expect(firstDifference == nil, "regenerate with tools/fixtures/gguf_samples.py?")
    #expect(encoded.fileBytes == original.count)
    #expect(encoded.ranges == file.tensors.map(\.range))
  }

  @Test func `strings that are not UTF-8 and signalling NaNs survive`() throws {
    let directory = try TemporaryDirectory()
    let quiet = GGUFDraft.pair("nan", 6, [0x01, 0x00, 0xA0, 0x7F])
    let raw = GGUFDraft.pair("raw", 8, GGUFDraft.number(UInt64(2)) + [0xFF, 0xFE])
    let list = GGUFDraft.pair(
      "list", 9, GGUFDraft.array(8, 1, GGUFDraft.number(UInt64(1)) + [0xC0]))
    let bytes = GGUFDraft(keys: [quiet, raw, list]).bytes
    let file = try GGUFFile(path: try directory.write(bytes, to: "raw.gguf"))
    #expect(try GGUFHeader(file).encoded().bytes == bytes)
    #expect(file.metadata["raw"] == .rawString([0xFF, 0xFE]))
  }

  @Test func `tensors of every ggml type are read back as written`() throws {
    var header = GGUFHeader()
    for type in ElementType.ggmlTypes {
      let shape = [2, 3, type.blockElements * 2]
      header.tensors.append(GGUFTensorEntry(name: type.rawValue, type: type, shape: shape))
    }
    let directory = try TemporaryDirectory()
    let encoded = try header.encoded()
    let file = try GGUFFile(path: try directory.write(Self.file(encoded, []), to: "types.gguf"))
    #expect(GGUFHeader(file).tensors == header.tensors)
    for tensor in file.tensors {
      #expect(tensor.range.count * 8 == 12 * tensor.type.blockBits, "\(tensor.name)")
    }
  }

  @Test func `tensors are placed in order at multiples of the alignment`() throws {
    var header = GGUFHeader(metadata: ["general.alignment": .uint32(128)])
    header.tensors = [
      GGUFTensorEntry(name: "a", type: .f32, shape: [3, 5]),
      GGUFTensorEntry(name: "b", type: .q4_K, shape: [2, 256]),
      GGUFTensorEntry(name: "c", type: .f16, shape: []),
    ]
    let encoded = try header.encoded()
    #expect(encoded.offsets == [0, 128, 512])
    #expect(encoded.ranges.map(\.count) == [60, 288, 2])
    #expect(encoded.dataStart % 128 == 0)
    #expect(encoded.fileBytes == encoded.dataStart + 640)
    let directory = try TemporaryDirectory()
    let path = try directory.write(Self.file(encoded, []), to: "placed.gguf")
    #expect(try GGUFHeader(GGUFFile(path: path)).tensors == header.tensors)
  }

  @Test func `any added key leaves the data a multiple of 4096 bytes away`() throws {
    let original = try GGUFFile(path: GGUFFileTests.sample("every-type.gguf"))
    let directory = try TemporaryDirectory()
    for length in stride(from: 0, through: 4200, by: 37) {
      var header = GGUFHeader(original)
      header.metadata["regate.note"] = .string(String(repeating: "n", count: length))
      try header.alignData(with: original.dataStart)
      let encoded = try header.encoded()
      #expect((encoded.dataStart - original.dataStart) % 4096 == 0)
      let file = try GGUFFile(path: try directory.write(Self.file(encoded, []), to: "padded.gguf"))
      #expect(file.dataStart == encoded.dataStart)
      #expect(file.tensors.map(\.range) == encoded.ranges)
    }
  }

  @Test(arguments: [1, 8, 32, 4096, 65_536])
  func `the data start is aligned at every alignment`(alignment: Int) throws {
    let directory = try TemporaryDirectory()
    var header = GGUFHeader(metadata: ["general.alignment": .uint32(UInt32(alignment))])
    header.tensors = [GGUFTensorEntry(name: "a", type: .i8, shape: [9])]
    let path = try directory.write(Self.file(try header.encoded(), []), to: "original.gguf")
    let original = try GGUFFile(path: path)
    header.metadata["regate.note"] = .string("a note that makes the header longer")
    try header.alignData(with: original.dataStart)
    let encoded = try header.encoded()
    #expect((encoded.dataStart - original.dataStart) % 4096 == 0)
    #expect(encoded.dataStart % alignment == 0)
  }

  @Test func `a header that needs no padding stays as it is, and padding is replaced`() throws {
    let original = try GGUFFile(path: GGUFFileTests.sample("version-2.gguf"))
    var header = GGUFHeader(original)
    try header.alignData(with: original.dataStart)
    #expect(header.metadata == original.metadata)
    header.metadata["regate.version"] = .string("1")
    try header.alignData(with: original.dataStart)
    let padded = try header.encoded()
    #expect(header.metadata[GGUFHeader.paddingKey] != nil)
    try header.alignData(with: original.dataStart)
    #expect(try header.encoded().bytes == padded.bytes)
    header.metadata["regate.version"] = nil
    try header.alignData(with: original.dataStart)
    #expect(header.metadata == original.metadata)
  }

  @Test func `a header without tensors and padding is opened, written and not aligned`() throws {
    let directory = try TemporaryDirectory()
    let bytes = GGUFDraft().header
    let original = try GGUFFile(path: try directory.write(bytes, to: "bare.gguf"))
    #expect(original.dataStart == bytes.count && bytes.count % 32 != 0)
    var header = GGUFHeader(original)
    header.metadata["regate.version"] = .string("1")
    try header.alignData(with: original.dataStart)
    #expect(header.metadata[GGUFHeader.paddingKey] == nil)
    #expect(try header.encoded().dataStart % 32 == 0)
  }

  @Test func `keys are replaced in place and added at the end`() throws {
    var header = GGUFHeader(try GGUFFile(path: GGUFFileTests.sample("every-key.gguf")))
    let keys = Array(header.metadata.keys)
    header.metadata["key.u8"] = .uint32(9)
    header.metadata["regate.version"] = .string("1.0")
    #expect(Array(header.metadata.keys) == keys + ["regate.version"])
    let directory = try TemporaryDirectory()
    let path = try directory.write(try header.encoded().bytes, to: "changed.gguf")
    #expect(try GGUFFile(path: path).metadata == header.metadata)
  }

  @Test func `headers that no reader would accept are not written`() throws {
    func refusal(_ change: (inout GGUFHeader) -> Void) -> String {
      var header = GGUFHeader()
      change(&header)
      let error = #expect(throws: RegateError.self) { try header.encoded(file: "out.gguf") }
      return error?.description ?? ""
    }
    func tensor(_ name: String, _ type: ElementType, _ shape: [Int]) -> GGUFTensorEntry {
      GGUFTensorEntry(name: name, type: type, shape: shape)
    }
    #expect(refusal { $0.version = 1 }.contains("cannot write GGUF version 1"))
    #expect(refusal { $0.metadata[""] = .bool(true) }.contains("a key needs 1 to 65535 bytes"))
    #expect(refusal { $0.metadata["general.alignment"] = .uint32(3) }.contains("power of two"))
    let long = String(repeating: "n", count: 64)
    #expect(refusal { $0.tensors = [tensor(long, .f32, [1])] }.contains("64 bytes"))
    #expect(refusal { $0.tensors = [tensor("", .f32, [1])] }.contains("empty"))
    #expect(refusal { $0.tensors = [tensor("a", .f8e4m3, [1])] }.contains("cannot hold F8_E4M3"))
    #expect(refusal { $0.tensors = [tensor("a", .f32, [-1])] }.contains("negative"))
    #expect(refusal { $0.tensors = [tensor("a", .f32, [1, 1, 1, 1, 1])] }.contains("dimensions"))
    #expect(refusal { $0.tensors = [tensor("a", .q8_0, [31])] }.contains("whole Q8_0 blocks"))
    let twice = [tensor("a", .f32, [1]), tensor("a", .f32, [1])]
    #expect(refusal { $0.tensors = twice }.contains("twice"))
    let huge = (0..<9).map { tensor("\($0)", .i8, [1 << 60 - 64]) }
    #expect(refusal { $0.tensors = huge }.contains("beyond any possible file size"))
  }
}
