// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import RegateKit
import TestSupport
import Testing

/// Progress under which something happens to the source, once, after so many steps.
private final class Accident: ProgressSink {
  private let left: Locked<Int>
  private let happen: @Sendable () -> Void

  init(after steps: Int, _ happen: @escaping @Sendable () -> Void) {
    left = Locked(steps)
    self.happen = happen
  }

  func begin(_ label: String, total: Int) {}
  func advance(_ count: Int) {
    let isDue = left.withLock { left in
      left -= 1
      return left == 0
    }
    if isDue { happen() }
  }
  func end() {}
}

@Suite struct ChangedSourceTests {
  /// Runs on a copy of a model, of which the weights lose all but their first bytes.
  private func run(_ kind: LongRun, after steps: Int, _ access: FileAccess) throws {
    let bench = try Workbench(.mixtral, tokens: 128)
    let model = bench.directory.path("model")
    try FileManager.default.copyItem(atPath: TinyModel.qwen3.path, toPath: model)
    let weights = model + "/model.safetensors"
    let accident = Accident(after: steps) {
      let handle = FileHandle(forWritingAtPath: weights)
      try? handle?.truncate(atOffset: 20_000)
      try? handle?.close()
    }
    let before = Set(try fileTree(bench.directory.url).keys)
    let error = #expect(throws: RegateError.self) {
      try FileAccess.$current.withValue(access) {
        try kind.run(bench, accident, model: model)
      }
    }
    #expect(error?.file == weights, "\(String(describing: error))")
    #expect(error?.problem.contains("became shorter") == true)
    #expect(Set(try fileTree(bench.directory.url).keys) == before)
  }

  /// The first step of a run comes when its headers were read and its first layer was not.
  @Test(arguments: [LongRun.capture, .sweep, .validate, .place, .inspect], FileAccess.allCases)
  func `weights that get shorter under a run end it with one error`(
    _ kind: LongRun, _ access: FileAccess
  ) throws {
    try run(kind, after: 1, access)
  }

  @Test func `weights that are written to under a run end it with one error`() throws {
    let bench = try Workbench(.mixtral, tokens: 128)
    let model = bench.directory.path("model")
    try FileManager.default.copyItem(atPath: TinyModel.qwen3.path, toPath: model)
    let accident = Accident(after: 1) {
      try? FileManager.default.setAttributes(
        [.modificationDate: Date(timeIntervalSinceNow: 100)],
        ofItemAtPath: model + "/model.safetensors")
    }
    let error = #expect(throws: RegateError.self) {
      try LongRun.capture.run(bench, accident, model: model)
    }
    #expect(error?.problem.contains("was written to while it was read") == true)
  }

  /// Whatever the files are read by, a run writes the same bytes.
  @Test func `plain reads give what mapping gives`() throws {
    let bench = try Workbench(.mixtralByLayer, tokens: 128)
    let fit = try bench.stockFit().path
    try bench.convert(to: "mapped") { $0.fit = fit }
    try FileAccess.$largestRead.withValue(1000) {
      try FileAccess.$current.withValue(.read) {
        try bench.convert(to: "read") { $0.fit = fit }
      }
    }
    #expect(try fileTree(bench.folder("read")) == fileTree(bench.folder("mapped")))
  }
}
