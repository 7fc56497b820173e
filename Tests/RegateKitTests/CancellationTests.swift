// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import RegateKit
import TestSupport
import Testing

/// Progress that is no longer wanted after so many calls of `advance`.
private final class Impatient: ProgressSink {
  private let left: Locked<Int>

  init(after advances: Int) { left = Locked(advances) }

  func begin(_ label: String, total: Int) {}
  func advance(_ count: Int) { left.withLock { $0 -= 1 } }
  func end() {}
  var isCancelled: Bool { left.withLock { $0 <= 0 } }

  /// How often `advance` was called, from `start` on.
  func advances(since start: Int) -> Int { left.withLock { start - $0 } }
}

@Test(arguments: LongRun.allCases, [0, 1])
func `work that is no longer wanted stops and leaves nothing`(
  _ kind: LongRun, _ advances: Int
) throws {
  let bench = try Workbench(.mixtral, tokens: 128)
  let before = try fileTree(bench.directory.url)
  let error = #expect(throws: RegateError.self) { try kind.run(bench, Impatient(after: advances)) }
  #expect(error?.code == .cancelled)
  #expect(try fileTree(bench.directory.url) == before)
}

/// Progress that is no longer wanted once work of a name has begun, and counts what is done of it.
private final class Refusing: ProgressSink {
  private let label: String
  private let state = Locked((refuses: false, done: 0))

  init(_ label: String) { self.label = label }

  func begin(_ label: String, total: Int) {
    state.withLock { $0.refuses = label == self.label }
  }
  func advance(_ count: Int) { state.withLock { $0.done += $0.refuses ? 1 : 0 } }
  func end() {}
  var isCancelled: Bool { state.withLock(\.refuses) }
  var done: Int { state.withLock(\.done) }
}

@Test func `experts are not compared and gates not read once that is no longer wanted`() throws {
  let bench = try Workbench(.mixtral, tokens: 64)
  let comparing = Refusing("Recognising experts")
  let first = #expect(throws: RegateError.self) {
    try Validation.run(
      .init(
        original: bench.source, patched: bench.source, calibration: [bench.capture], threads: 1),
      progress: comparing)
  }
  #expect(first?.code == .cancelled && comparing.done == 0)
  let reading = Refusing("Inspecting routers")
  let second = #expect(throws: RegateError.self) {
    try Inspection.run(.init(checkpoint: bench.source, threads: 1), progress: reading)
  }
  #expect(second?.code == .cancelled && reading.done == 0)
}

@Test func `text is not tokenised once that is no longer wanted`() throws {
  // Nothing is begun before the tokens are there: the sink refuses from the start.
  let error = #expect(throws: RegateError.self) {
    try Sweep.run(
      .init(
        checkpoint: TinyModel.qwen3.path, calibration: .init([TinyModel.text("heldout")]),
        threads: 1),
      progress: Impatient(after: 0)
    ) { _ in Issue.record("the tokens were read and the memory was told") }
  }
  #expect(error?.code == .cancelled)
}

/// Between files, too: the copy that was begun goes.
@Test func `a copy that is no longer wanted leaves nothing, whenever that is`() throws {
  let bench = try Workbench(.mixtralByLayer, tokens: 192)
  let fit = try bench.stockFit().path
  let before = try fileTree(bench.directory.url)
  // A run to its end tells how many steps there are.
  let patient = Impatient(after: .max)
  try bench.convert(to: "out", progress: patient) { $0.fit = fit }
  let steps = patient.advances(since: .max)
  try FileManager.default.removeItem(at: bench.folder("out"))
  var stopped = 0
  for step in stride(from: 0, to: steps, by: max(1, steps / 12)) {
    do {
      try bench.convert(to: "out", progress: Impatient(after: step)) { $0.fit = fit }
      // Too late to stop: all is written.
      try FileManager.default.removeItem(at: bench.folder("out"))
    } catch let error as RegateError {
      #expect(error.code == .cancelled)
      stopped += 1
    }
    #expect(try fileTree(bench.directory.url) == before, "step \(step) of \(steps)")
  }
  #expect(stopped > 0)
}

/// Stopped while it hashes or writes, it is run again.
@Test func `a reversion that is no longer wanted can be run again`() throws {
  let bench = try Workbench(.mixtralByLayer, tokens: 192)
  let source = try fileTree(bench.sourceFolder)
  let fit = try bench.stockFit().path
  try bench.convert(to: nil) {
    $0.fit = fit
    $0.output = .checkpoint(.inPlace)
  }
  let request = Reversion.Request(checkpoint: bench.source, threads: 1)
  let patient = Impatient(after: .max)
  _ = try Reversion.run(request, progress: patient)
  #expect(try fileTree(bench.sourceFolder) == source)
  try bench.convert(to: nil) {
    $0.fit = fit
    $0.output = .checkpoint(.inPlace)
  }
  for step in 0..<patient.advances(since: .max) {
    let error = #expect(throws: RegateError.self) {
      try Reversion.run(request, progress: Impatient(after: step))
    }
    #expect(error?.code == .cancelled, "step \(step)")
  }
  _ = try Reversion.run(request)
  #expect(try fileTree(bench.sourceFolder) == source)
}
