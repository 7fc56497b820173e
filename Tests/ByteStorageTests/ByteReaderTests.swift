// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import TestSupport
import Testing

@Suite struct ByteReaderTests {
  private func file(_ bytes: [UInt8]) throws -> MappedFile {
    let folder = try TemporaryDirectory()
    // The mapping outlives the directory.
    return try MappedFile(path: folder.write(bytes, to: "bytes"))
  }

  @Test func `integers are little-endian at any alignment`() throws {
    var reader = ByteReader(try file([0xFF, 0x01, 0x02, 0x03, 0x04, 0x05]))
    #expect(try reader.read(UInt8.self, "a") == 0xFF)
    #expect(try reader.read(UInt32.self, "b") == 0x0403_0201)
    #expect(reader.offset == 5)
    #expect(reader.remaining == 1)
  }

  @Test func `a read past the end names what was read, and where`() throws {
    var reader = ByteReader(try file([1, 2, 3]))
    _ = try reader.readBytes(2, "head")
    #expect {
      _ = try reader.read(UInt32.self, "tensor count")
    } throws: { error in
      let text = "\(error)"
      return text.contains("tensor count") && text.contains("needs 4 bytes at offset 2")
        && text.contains("only 1 remain")
    }
  }

  @Test(arguments: [-1, 4, Int.max])
  func `negative and huge counts are refused before anything is allocated`(count: Int) throws {
    var reader = ByteReader(try file([1, 2, 3]))
    #expect(throws: RegateError.self) { _ = try reader.readBytes(count, "x") }
    #expect(throws: RegateError.self) { try reader.skip(count, "x") }
    #expect(reader.offset == 0)
  }

  @Test func `an empty file maps`() throws {
    let empty = try file([])
    #expect(empty.count == 0)
    #expect(try empty.bytes(in: 0..<0).isEmpty)
  }

  @Test func `a directory is no file`() throws {
    let folder = try TemporaryDirectory()
    #expect(throws: RegateError.self) { _ = try MappedFile(path: folder.path("")) }
  }

  @Test func `control characters in names cannot reach a terminal`() {
    let error = RegateError(.malformed, file: "a\nb", subject: "\u{1B}[31m", "bad")
    #expect(error.description == "a\u{FFFD}b: \u{FFFD}[31m: bad")
  }
}
