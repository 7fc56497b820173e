// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

@Suite struct GGUFFileTests {
  static let samples = [
    "every-key.gguf", "every-type.gguf", "version-2.gguf", "split-00001-of-00002.gguf",
    "split-00002-of-00002.gguf", "tiny.imatrix.gguf",
  ]

  static func sample(_ name: String) -> String {
    fixtures.appending(path: "gguf").appending(path: name).path(percentEncoded: false)
  }

  @Test func `values of every key type are read as gguf-py wrote them`() throws {
    let metadata = try GGUFFile(path: Self.sample("every-key.gguf")).metadata
    let expected: [(String, GGUFValue)] = [
      ("general.architecture", .string("llama")),
      ("key.u8", .uint8(.max)), ("key.i8", .int8(.min)),
      ("key.u16", .uint16(.max)), ("key.i16", .int16(.min)),
      ("key.u32", .uint32(.max)), ("key.i32", .int32(.min)),
      ("key.u64", .uint64(.max)), ("key.i64", .int64(.min)),
      ("key.f32", .float32(0.1)), ("key.f64", .float64(0.1)),
      ("key.true", .bool(true)), ("key.false", .bool(false)),
      ("key.string", .string("Gewicht \u{fc}ber \u{5c42}\n")),
      ("array.uint8", .array(.uint8([0, 1, 255]))), ("array.int8", .array(.int8([-1, 0, 1]))),
      ("array.uint16", .array(.uint16([0, .max]))),
      ("array.int16", .array(.int16([.min, .max]))),
      ("array.uint32", .array(.uint32([0, .max]))), ("array.int32", .array(.int32([-5, 5]))),
      ("array.uint64", .array(.uint64([1, 1 << 63]))),
      ("array.int64", .array(.int64([-1 << 62, 1 << 62]))),
      ("array.float32", .array(.float32([0.5, -1.25, .infinity]))),
      ("array.float64", .array(.float64([0.1, -0.2]))),
      ("array.bool", .array(.bool([true, false, true]))),
      ("array.string", .array(.string(GGUFStrings(["<s>", "", "\u{120}the", "\u{1f9ed}"])))),
      ("array.nested", .array(.array([.int32([1, 2, 3]), .int32([4])]))),
      (
        "array.nested_strings",
        .array(.array([.string(GGUFStrings(["a", "bc"])), .string(GGUFStrings(["d"]))]))
      ),
    ]
    #expect(Array(metadata.keys) == expected.map(\.0))
    for (key, value) in expected { #expect(metadata[key] == value, "\(key)") }
  }

  @Test func `every ggml type has the size and place that gguf-py gives it`() throws {
    let file = try GGUFFile(path: Self.sample("every-type.gguf"))
    #expect(file.alignment == 64)
    var expectedStart = file.dataStart
    for tensor in file.tensors {
      #expect(tensor.range.lowerBound == expectedStart, "\(tensor.name)")
      expectedStart = (tensor.range.upperBound + 63) / 64 * 64
    }
    #expect(expectedStart == file.file.count)
    let typed = file.tensors.filter { $0.name.hasPrefix("tensor.") }
    for tensor in typed {
      #expect("tensor.\(tensor.type.rawValue)" == tensor.name)
      #expect(tensor.shape == [3, tensor.type.blockElements == 1 ? 5 : tensor.type.blockElements])
    }
    // gguf-py 0.19 does not know Q2_0, and its size for Q8_1 is not ggml's.
    let expected = ElementType.ggmlTypes.filter { $0 != .q8_1 && $0 != .q2_0 }
    #expect(typed.map(\.type) == expected)
  }

  @Test func `shapes are row-major and values lie where the ranges say`() throws {
    let file = try GGUFFile(path: Self.sample("every-type.gguf"))
    let shapes = [
      "shape.1": [7], "shape.3": [2, 3, 4], "shape.4": [2, 2, 3, 4], "shape.column": [3, 1],
    ]
    for (name, shape) in shapes {
      let tensor = try #require(file.tensors.first { $0.name == name })
      #expect(tensor.shape == shape)
      var reader = ByteReader(file.file, range: tensor.range)
      for element in 0..<tensor.elementCount {
        let value = Float(bitPattern: try reader.read(UInt32.self, name))
        #expect(value == Float(element))
      }
      #expect(reader.remaining == 0)
    }
  }

  @Test func `ggml type numbers and types are each other's inverse`() {
    for type in ElementType.allCases {
      guard let id = type.ggmlID else { continue }
      #expect(ElementType(ggmlID: id) == type)
      #expect(ElementType.removedGGMLTypes[id] == nil)
    }
    #expect(ElementType.q4_K.ggmlID == 12)
    #expect(ElementType.q2_0.ggmlID == 42)
    #expect(ElementType.f8e4m3.ggmlID == nil)
    #expect((0..<43).filter { ElementType(ggmlID: $0) == nil }.count == 8)
    #expect(ElementType(ggmlID: 43) == nil)
  }

  @Test(arguments: GGUFCase.sound)
  func `sound files open`(sample: GGUFCase) throws {
    let directory = try TemporaryDirectory()
    let checkpoint = try GGUFCheckpoint(path: try sample.build(directory))
    #expect(checkpoint.architecture == "llama")
  }

  @Test(arguments: GGUFCase.malformed)
  func `malformed files are refused with their reason`(sample: GGUFCase) throws {
    let directory = try TemporaryDirectory()
    let path = try sample.build(directory)
    let error = #expect(throws: RegateError.self) { try GGUFCheckpoint(path: path) }
    let text = error?.description ?? ""
    let expected = try #require(sample.message)
    #expect(text.contains(expected), "\(text)")
    #expect(text.hasPrefix(directory.path("")), "the error names its file: \(text)")
  }

  @Test func `a file cut short anywhere in its header is refused`() throws {
    let directory = try TemporaryDirectory()
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: Self.sample("every-key.gguf"))))
    let header = try GGUFFile(path: Self.sample("every-key.gguf"))
    #expect(header.tensors.isEmpty)
    // Without tensors only the padding may be missing.
    let needed = try #require(bytes.lastIndex { $0 != 0 })
    for length in stride(from: 0, to: needed, by: 7) {
      let path = try directory.write(Array(bytes[..<length]), to: "prefix.gguf")
      #expect(throws: RegateError.self) { try GGUFFile(path: path) }
    }
  }

  @Test(arguments: [(UInt64(1) << 31, UInt64(1)), (UInt64(0), UInt64(1) << 31)])
  func `false counts in a huge file are found out without memory for them`(
    tensors: UInt64, keys: UInt64
  ) throws {
    let directory = try TemporaryDirectory()
    var draft = GGUFDraft()
    draft.tensorCount = tensors
    draft.keyCount = keys
    let path = try directory.write(draft.bytes, to: "sparse.gguf")
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.truncate(atOffset: 1 << 36)
    try handle.close()
    let error = #expect(throws: RegateError.self) { try GGUFFile(path: path) }
    #expect(error?.code == .malformed)
  }

  /// Zeros are empty strings, of eight bytes each: found by fuzzing.
  @Test func `a vocabulary of a gigabyte in a huge file is refused`() throws {
    let directory = try TemporaryDirectory()
    let strings = UInt64(1) << 26
    let header =
      Array("GGUF".utf8) + littleEndian(UInt32(3)) + littleEndian(UInt64(0))
      + littleEndian(UInt64(1)) + littleEndian(UInt64(1)) + Array("k".utf8)
      + littleEndian(UInt32(9)) + littleEndian(UInt32(8)) + littleEndian(strings)
    let path = try directory.write(header, to: "sparse.gguf")
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.truncate(atOffset: 1 << 30)
    try handle.close()
    let error = #expect(throws: RegateError.self) { try GGUFFile(path: path) }
    #expect(error?.subject == "k" && error?.problem.contains("of a header can hold") == true)
  }

  @Test func `random damage never crashes and never moves a tensor out of the file`() throws {
    let directory = try TemporaryDirectory()
    let sound = [UInt8](try Data(contentsOf: URL(filePath: Self.sample("every-type.gguf"))))
    let header = try GGUFFile(path: Self.sample("every-type.gguf")).dataStart
    var random = SeededGenerator(seed: 7)
    var opened = 0
    for _ in 0..<300 {
      var bytes = sound
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let place = Int.random(in: 0..<header, using: &random)
        bytes[place] = UInt8.random(in: 0...255, using: &random)
      }
      let path = try directory.write(bytes, to: "damaged.gguf")
      guard let file = try? GGUFFile(path: path) else { continue }
      opened += 1
      for tensor in file.tensors {
        #expect(tensor.range.upperBound <= bytes.count)
        #expect(tensor.type.byteCount(of: tensor.elementCount) == tensor.range.count)
      }
    }
    #expect(opened > 0 && opened < 300)
  }
}
