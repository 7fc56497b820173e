// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite struct FileWriterTests {
  @Test func `own bytes and ranges of another file land in order`() throws {
    let folder = try TemporaryDirectory()
    let original = [UInt8](0...255)
    let source = try MappedFile(path: folder.write(original, to: "source"))
    let path = folder.path("out")
    do {
      var writer = try FileWriter(creating: path)
      try writer.write([1, 2, 3])
      try writer.copy(from: source, range: 10..<200)
      try writer.write([4])
      try writer.copy(from: source, range: 0..<0)
      try writer.sync()
      #expect(writer.offset == 194)
    }
    #expect(
      try [UInt8](Data(contentsOf: URL(filePath: path))) == [1, 2, 3] + original[10..<200] + [4])
  }

  @Test func `an existing file is never opened for writing`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.write([9, 9], to: "precious")
    #expect {
      _ = try FileWriter(creating: path)
    } throws: { ($0 as? RegateError)?.code == .io }
    #expect(try [UInt8](Data(contentsOf: URL(filePath: path))) == [9, 9])
  }
}

@Suite struct StagedOutputTests {
  private func names(_ folder: TemporaryDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path("")).sorted()
  }

  @Test func `an output that is not committed leaves nothing behind`() throws {
    let folder = try TemporaryDirectory()
    do {
      let output = try StagedOutput(directory: .directory(folder.path("model")))
      var writer = try FileWriter(creating: output.path("deep/file"))
      try writer.write([1])
      #expect(try names(folder).count == 1)
    }
    #expect(try names(folder).isEmpty)
  }

  @Test func `a committed directory has its final name and contents`() throws {
    let folder = try TemporaryDirectory()
    let output = try StagedOutput(directory: .directory(folder.path("model") + "/"))
    do {
      var writer = try FileWriter(creating: output.path("deep/file"))
      try writer.write([7])
    }
    try output.commit()
    #expect(try names(folder) == ["model"])
    #expect(try [UInt8](Data(contentsOf: folder.url.appending(path: "model/deep/file"))) == [7])
  }

  @Test func `an existing destination is refused unless overwriting, and then replaced whole`()
    throws
  {
    let folder = try TemporaryDirectory()
    try FileManager.default.createDirectory(
      at: folder.url.appending(path: "model"), withIntermediateDirectories: false)
    try folder.write([1], to: "model/old")
    #expect {
      _ = try StagedOutput(directory: .directory(folder.path("model")))
    } throws: { ($0 as? RegateError)?.problem == "exists already" }

    let output = try StagedOutput(directory: .directory(folder.path("model"), overwrite: true))
    try output.commit()
    #expect(try names(folder) == ["model"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("model")).isEmpty)
  }

  @Test func `staged files take their names beside each other`() throws {
    let folder = try TemporaryDirectory()
    let output = try StagedOutput(files: [.file(folder.path("a")), .file(folder.path("b"))])
    for (name, byte) in [("a", UInt8(1)), ("b", 2)] {
      var writer = try FileWriter(creating: output.path(name))
      try writer.write([byte])
    }
    #expect(try names(folder).count == 1)
    try output.commit()
    #expect(try names(folder) == ["a", "b"])
  }

  @Test func `a file never replaces a directory`() throws {
    let folder = try TemporaryDirectory()
    try FileManager.default.createDirectory(
      at: folder.url.appending(path: "model"), withIntermediateDirectories: false)
    #expect {
      _ = try StagedOutput(files: [.file(folder.path("model"), overwrite: true)])
    } throws: { ($0 as? RegateError)?.code == .refused }
  }
}
