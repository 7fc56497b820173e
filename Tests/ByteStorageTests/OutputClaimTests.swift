// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite("The leave to write an output") struct OutputClaimTests {
  private let folder: TemporaryDirectory
  private let manager = FileManager.default

  init() throws { folder = try TemporaryDirectory() }

  /// Files that begin with 7.
  private static let sevens = OutputKind(file: "seven") {
    (try? MappedFile(path: $0).bytes(in: 0..<1)) == [7]
  }

  private func make(_ name: String) throws {
    try manager.createDirectory(atPath: folder.path(name), withIntermediateDirectories: true)
  }

  private func claim(
    _ name: String, as kind: OutputKind = sevens, overwrite: Bool = true,
    apartFrom inputs: RunInputs = RunInputs()
  ) throws(RegateError) -> OutputClaim {
    try OutputClaim(folder.path(name), as: kind, overwrite: overwrite, apartFrom: inputs)
  }

  private func refusal(
    _ name: String, as kind: OutputKind = sevens, overwrite: Bool = true,
    apartFrom inputs: RunInputs = RunInputs(), sourceLocation: SourceLocation = #_sourceLocation
  ) -> String {
    let error = #expect(throws: RegateError.self, sourceLocation: sourceLocation) {
      try claim(name, as: kind, overwrite: overwrite, apartFrom: inputs)
    }
    return error?.problem ?? ""
  }

  /// Root may write anywhere but to what is mounted for reading.
  @Test(.enabled(if: getuid() != 0))
  func `a folder that cannot be written to is refused before any work`() throws {
    try manager.setAttributes([.posixPermissions: 0o500], ofItemAtPath: folder.path(""))
    defer { try? manager.setAttributes([.posixPermissions: 0o700], ofItemAtPath: folder.path("")) }
    #expect(refusal("new").contains("cannot be written to"))
  }

  @Test func `what is no regular file is refused as what it is, with overwrite too`() throws {
    try make("directory")
    try folder.write([7], to: "file")
    try manager.createSymbolicLink(
      atPath: folder.path("link"), withDestinationPath: folder.path("file"))
    try manager.createSymbolicLink(
      atPath: folder.path("lost"), withDestinationPath: folder.path("nowhere"))
    try manager.createSymbolicLink(atPath: folder.path("null"), withDestinationPath: "/dev/null")
    #expect(unsafe mkfifo(folder.path("pipe"), 0o600) == 0)
    for overwrite in [false, true] {
      for (name, kind) in [
        ("directory", "a directory"), ("link", "a symbolic link"), ("lost", "a symbolic link"),
        ("null", "a symbolic link"), ("pipe", "a named pipe"),
      ] {
        #expect(
          refusal(name, overwrite: overwrite) == "is \(kind), where a file is to be written")
      }
    }
    let error = #expect(throws: RegateError.self) {
      try OutputClaim("/dev/null", as: Self.sevens, overwrite: true, apartFrom: RunInputs())
    }
    #expect(error?.problem == "is a character device, where a file is to be written")
    #expect(
      refusal("file", as: OutputKind(directory: { _ in nil }))
        == "is a file, where a directory is to be written")
    #expect(refusal("missing/file") == "is no directory")
  }

  @Test func `only what is recognised is replaced, and only on request`() throws {
    try folder.write([7], to: "own")
    try folder.write([8], to: "other")
    #expect(refusal("own", overwrite: false) == "exists already")
    #expect(refusal("other") == "exists already and is no seven of Regate")
    try AtomicFile.write([7, 7], to: try claim("own"))
    #expect(Volume.byteCount(of: folder.path("own")) == 2)
  }

  @Test func `an input is recognised by any of its names`() throws {
    let input = try folder.write([7], to: "input")
    try make("deep")
    try manager.linkItem(atPath: input, toPath: folder.path("hard"))
    try manager.createSymbolicLink(
      atPath: folder.path("here"), withDestinationPath: folder.path(""))
    let inputs = RunInputs([input])
    for name in ["input", "hard", "here/input", "deep/../input"] {
      #expect(refusal(name, apartFrom: inputs) == "is an input of this run", "\(name)")
    }
    _ = try claim("new", apartFrom: inputs)
  }

  @Test func `an output neither holds an input nor lies in a checkpoint`() throws {
    try make("outer/model/sub")
    try make("blobs")
    let blob = try folder.write([1], to: "blobs/1")
    try manager.createSymbolicLink(
      atPath: folder.path("outer/model/weights"), withDestinationPath: blob)
    try manager.createSymbolicLink(
      atPath: folder.path("alias"), withDestinationPath: folder.path("outer/model"))
    var inputs = RunInputs([folder.path("outer/model/weights")])
    inputs.add(folder.path("outer/model"), as: .original)
    let anything = OutputKind(directory: { _ in nil })
    // The folder itself, one above, and the one that a link in it leads to.
    #expect(refusal("outer/model", as: anything, apartFrom: inputs) == "is the original itself")
    #expect(refusal("alias", as: anything, apartFrom: inputs) == "is the original itself")
    for name in ["outer", "", "blobs"] {
      #expect(refusal(name, as: anything, apartFrom: inputs).hasPrefix("holds "), "\(name)")
    }
    for name in ["outer/model/new", "alias/new", "outer/model/sub/new"] {
      for kind in [anything, Self.sevens] {
        #expect(
          refusal(name, as: kind, apartFrom: inputs) == "lies inside the original's directory",
          "\(name)")
      }
    }
    // A folder of arrays is no checkpoint.
    _ = try claim("outer/model/new", apartFrom: RunInputs([folder.path("outer/model")]))
    _ = try claim("outer/new", apartFrom: inputs)
    _ = try claim("blobs/new", as: anything, apartFrom: inputs)
  }

  @Test func `what came in the way since the claim stays`() throws {
    let claim = try claim("late", overwrite: false)
    let error = #expect(throws: RegateError.self) {
      try AtomicFile.write(to: claim) { (file) throws(RegateError) in
        try file.write([7])
        do { try folder.write([1], to: "late") } catch { throw RegateError(.io, "\(error)") }
      }
    }
    #expect(error?.problem == "exists already")
    #expect(try MappedFile(path: folder.path("late")).bytes(in: 0..<1) == [1])
    #expect(try manager.contentsOfDirectory(atPath: folder.path("")) == ["late"])
  }
}
