// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite("Single files, whole or not at all") struct AtomicFileTests {
  private func contents(_ folder: TemporaryDirectory) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder.path("")).sorted()
  }

  @Test func `a file has its name and bytes, and nothing stands beside it`() throws {
    let folder = try TemporaryDirectory()
    try AtomicFile.write([1, 2, 3], to: .file(folder.path("out")))
    #expect(try MappedFile(path: folder.path("out")).bytes(in: 0..<3) == [1, 2, 3])
    #expect(try contents(folder) == ["out"])
  }

  @Test func `what the body writes can be read back before it takes its name`() throws {
    let folder = try TemporaryDirectory()
    try AtomicFile.write(to: .file(folder.path("out"))) { (file) throws(RegateError) in
      try file.write([7])
      try file.write(floats: [1])
      #expect(try MappedFile(path: file.path).bytes(in: 0..<5) == [7, 0, 0, 0x80, 0x3F])
      #expect(FileKind(of: folder.path("out")) == nil)
    }
    #expect(try contents(folder) == ["out"])
  }

  @Test func `a body that throws leaves what was there`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.write([9], to: "out")
    #expect(throws: RegateError(.io, "stop")) {
      try AtomicFile.write(to: .file(path, overwrite: true)) { (file) throws(RegateError) in
        try file.write([1])
        throw RegateError(.io, "stop")
      }
    }
    #expect(try MappedFile(path: path).bytes(in: 0..<1) == [9])
    #expect(try contents(folder) == ["out"])
  }

  @Test func `a file that is there is replaced only where that is allowed`() throws {
    let folder = try TemporaryDirectory()
    let path = try folder.write([9, 9], to: "out")
    #expect {
      try AtomicFile.write([1], to: .file(path))
    } throws: { ($0 as? RegateError)?.problem == "exists already" }
    try AtomicFile.write([1], to: .file(path, overwrite: true))
    #expect(try MappedFile(path: path).count == 1)
  }
}

@Suite("Room on a volume") struct VolumeTests {
  @Test func `what fits is let through and what does not is refused by name`() throws {
    let folder = try TemporaryDirectory()
    try Volume.requireFree(1, near: folder.path("not/there/yet"))
    let error = #expect(throws: RegateError.self) {
      try Volume.requireFree(.max, near: folder.path(""), for: "the delta")
    }
    #expect(
      error?.problem.hasPrefix("the delta needs \(Int.max) bytes, but the volume has ") == true)
  }
}

@Suite("What lies under a name") struct FileKindTests {
  @Test func `links are followed only where asked`() throws {
    let folder = try TemporaryDirectory()
    let file = try folder.write([1], to: "file")
    let manager = FileManager.default
    try manager.createSymbolicLink(atPath: folder.path("link"), withDestinationPath: file)
    try manager.createSymbolicLink(atPath: folder.path("lost"), withDestinationPath: "nowhere")
    #expect(FileKind(of: file) == .file)
    #expect(FileKind(of: folder.path("")) == .directory)
    #expect(FileKind(of: folder.path("link")) == .file)
    #expect(FileKind(of: folder.path("link"), followingLinks: false) == .link)
    #expect(FileKind(of: folder.path("lost")) == nil)
    #expect(FileKind(of: folder.path("lost"), followingLinks: false) == .link)
    #expect(FileKind(of: folder.path("missing"), followingLinks: false) == nil)
    #expect(FileKind(of: "/dev/null") == .characterDevice)
  }
}

@Suite("Folders of paths") struct PathTests {
  @Test(arguments: [
    ("a/b", "a"), ("a", "."), ("/a", "/"), ("/", "/"), ("a/b/", "a"), ("a//b", "a"), (".", "."),
    ("/a/b", "/a"),
  ])
  func `the folder of a path is what stands before its last name`(_ path: String, _ folder: String)
  {
    #expect(path.directory == folder)
  }
}
