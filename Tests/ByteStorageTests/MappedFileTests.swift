// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing

@Suite struct MappedFileTests {
  private let directory: TemporaryDirectory
  private let path: String
  private let contents = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

  init() throws {
    directory = try TemporaryDirectory()
    path = directory.path("file")
    try Data(contents).write(to: URL(filePath: path))
  }

  /// A file of which the last bytes go while it is open.
  private func cut(to count: UInt64) throws {
    let handle = try FileHandle(forWritingTo: URL(filePath: path))
    try handle.truncate(atOffset: count)
    try handle.close()
  }

  @Test(arguments: FileAccess.allCases)
  func `a file that got shorter is an error that says so`(_ access: FileAccess) throws {
    let file = try FileAccess.$current.withValue(access) { try MappedFile(path: path) }
    #expect(try file.bytes(in: 90_000..<100_000) == Array(contents[90_000...]))
    try cut(to: 5000)
    #expect(try file.bytes(in: 0..<4000) == Array(contents[..<4000]))
    for range in [90_000..<100_000, 99_999..<100_000, 0..<100_000] {
      let error = #expect(throws: RegateError.self) { try file.bytes(in: range) }
      #expect(error?.file == path)
      #expect(error?.problem.contains("became shorter while it was read: 5000 bytes") == true)
    }
    #expect(throws: RegateError.self) { try file.requireUnchanged() }
  }

  @Test func `a named pipe is refused at once`() throws {
    let pipe = directory.path("pipe")
    #expect(unsafe mkfifo(pipe, 0o600) == 0)
    let error = #expect(throws: RegateError.self) { try MappedFile(path: pipe) }
    #expect(error?.file == pipe && error?.problem == "is not a regular file")
  }

  @Test func `an error about bytes that were lost is not told`() throws {
    let file = try MappedFile(path: path)
    try cut(to: 0)
    let error = #expect(throws: RegateError.self) {
      try file.withBytes(in: 50_000..<60_000) { (bytes) throws(RegateError) in
        if bytes[0] == 0 { throw RegateError(.malformed, "zeros") }
      }
    }
    #expect(error?.code == .io)
  }

  @Test(arguments: [1, 7, 4096])
  func `reads that give fewer bytes than asked are gone on with`(_ largest: Int) throws {
    let file = try FileAccess.$largestRead.withValue(largest) {
      try FileAccess.$current.withValue(.read) { try MappedFile(path: path) }
    }
    #expect(try file.bytes(in: 0..<20_000) == Array(contents[..<20_000]))
    #expect(try file.bytes(in: 12_345..<12_345) == [])
    #expect(try file.firstOffset(of: contents[200], from: 150) == 200)
  }

  /// What is told to the kernel changes when pages are read, not what they hold.
  @Test(arguments: FileAccess.allCases)
  func `bytes are the same however they were announced and left`(_ access: FileAccess) throws {
    let file = try FileAccess.$current.withValue(access) { try MappedFile(path: path) }
    for range in [0..<contents.count, 4_097..<12_345, 7..<7, contents.count..<contents.count] {
      file.prefetch(range)
      #expect(try file.sample(range) == Array(contents[range]))
      for pages in [PassedPages.cached, .dropped] {
        file.discard(range, pages)
        #expect(try file.bytes(in: range) == Array(contents[range]))
      }
    }
  }

  @Test func `pages stay cached where all of them can`() {
    #expect(PassedPages(byteCount: 0) == .cached)
    #expect(PassedPages(byteCount: .max) == .dropped)
  }

  @Test func `a file that was written to is told from one that was not`() throws {
    let file = try MappedFile(path: path)
    try file.requireUnchanged()
    let before = try FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
    let later = try #require(before).addingTimeInterval(1)
    try FileManager.default.setAttributes([.modificationDate: later], ofItemAtPath: path)
    let error = #expect(throws: RegateError.self) { try file.requireUnchanged() }
    #expect(error?.problem.contains("was written to") == true)
  }
}
