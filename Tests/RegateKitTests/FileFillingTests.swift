// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import CheckpointWriting
import Foundation
import TestSupport
import Testing

/// Files that are written step by step and followed by their checks.
struct FileFillingTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// 70 MB, more than two steps, of which no two megabytes are the same.
  private func original() throws -> MappedFile {
    let bytes = (0..<70 << 20).map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 8 ^ $0 >> 20) }
    let path = directory.path("original")
    try Data(bytes).write(to: URL(filePath: path))
    return try MappedFile(path: path)
  }

  private func stage() throws -> StagedOutput {
    try StagedOutput(directory: .directory(directory.path("out")))
  }

  @Test(arguments: [1, 2, 5])
  func `files have their head at first, all bytes at the end and the hash of those`(
    _ threads: Int
  ) throws {
    let original = try original()
    let count = original.count
    let swapped = OutputFile(
      name: "a/swapped", head: 5,
      segments: [
        .bytes(Array("head and more".utf8)), .range(original, 40 << 20..<count),
        .range(original, 1..<33 << 20),
      ])
    let files = [
      swapped, OutputFile(name: "empty"), OutputFile(name: "small", segments: [.bytes([7, 8])]),
      OutputFile(name: "whole", head: 100, segments: [.range(original, 0..<count)]),
    ]
    let stage = try stage()
    let started = try stage.started(files)
    var checks: [(file: StartedFile, check: FileCheck)] = []
    for file in started { checks.append((file, try FileCheck(path: file.path))) }
    let begun = try MappedFile(path: started[0].path)
    #expect(begun.count == swapped.byteCount)
    #expect(try begun.bytes(in: 0..<16) == Array("head ".utf8) + [UInt8](repeating: 0, count: 11))
    let digests = try stage.fill(checks, threads: threads, progress: NoProgress())
    try stage.commit()
    let all = try original.bytes(in: 0..<count)
    let expected: [[UInt8]] = [
      Array("head and more".utf8) + all[(40 << 20)...] + all[1..<33 << 20], [], [7, 8], all,
    ]
    for (index, file) in files.enumerated() {
      let path = directory.path("out") + "/" + file.name
      let data = try Data(contentsOf: URL(filePath: path))
      #expect(data == Data(expected[index]), "\(file.name)")
      #expect(try digests[index] == [Segment.bytes(expected[index])].sha256(), "\(file.name)")
    }
  }

  @Test func `files that are begun are not kept open`() throws {
    func open() throws -> Int {
      try FileManager.default.contentsOfDirectory(atPath: "/dev/fd").count
    }
    let stage = try stage()
    let before = try open()
    let files = (0..<900).map {
      OutputFile(name: "\($0)", head: 1, segments: [.bytes([1, 2, 3])])
    }
    let started = try stage.started(files)
    // Other tests open some at the same time.
    #expect(try open() - before < 450)
    #expect(started.allSatisfy { Volume.byteCount(of: $0.path) == 3 })
  }

  @Test func `files that are linked are hashed too`() throws {
    let original = try original()
    let stage = try stage()
    let started = try stage.started(
      [OutputFile(name: "whole", head: 9, segments: [.range(original, 0..<original.count)])],
      linking: true)
    #expect(started[0].method == .linked)
    let digests = try stage.fill(
      [(started[0], try FileCheck(path: started[0].path))], threads: 2, progress: NoProgress())
    let bytes = try original.bytes(in: 0..<original.count)
    #expect(try digests == [[Segment.bytes(bytes)].sha256()])
  }

  @Test func `work that is stopped, and a source that fails, end every file and leave nothing`()
    throws
  {
    struct Stopped: ProgressSink {
      func begin(_ label: String, total: Int) {}
      func advance(_ count: Int) {}
      func end() {}
      var isCancelled: Bool { true }
    }
    let original = try original()
    let file = OutputFile(name: "whole", segments: [.range(original, 0..<original.count)])
    func fill(_ progress: any ProgressSink) throws {
      let stage = try stage()
      let started = try stage.started([file])
      _ = try stage.fill(
        [(started[0], try FileCheck(path: started[0].path))], threads: 2, progress: progress)
      try stage.commit()
    }
    var error = #expect(throws: RegateError.self) { try fill(Stopped()) }
    #expect(error?.code == .cancelled)
    #expect(unsafe truncate(original.path, 5 << 20) == 0)
    error = #expect(throws: RegateError.self) { try fill(NoProgress()) }
    #expect(error?.code == .io)
    let left = try FileManager.default.contentsOfDirectory(atPath: directory.url.path())
    #expect(left == ["original"])
  }
}
