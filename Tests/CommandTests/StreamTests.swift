// SPDX-License-Identifier: Apache-2.0
//
// Standard streams that take nothing.

import Foundation
import TestSupport
import Testing

/// Linux's device on which every write fails.
private let hasFullDevice = FileManager.default.fileExists(atPath: "/dev/full")

@Suite struct StreamTests {
  private func inspect(_ bench: Bench, through shell: String) throws -> Tool.Outcome {
    try Tool.run(["inspect", bench.source], through: shell)
  }

  @Test func `a report that cannot be written is a failure`() throws {
    let bench = try Bench(tokens: 8)
    if hasFullDevice {
      let full = try inspect(bench, through: "exec >/dev/full")
      requireRefusal(
        full, naming: nil, says: "cannot write the report: No space left on device", "full")
      for arguments in [["--version"], ["--help"]] {
        #expect(try Tool.run(arguments, through: "exec >/dev/full").code == 1)
      }
    }
    requireRefusal(
      try inspect(bench, through: "exec >&-"), naming: nil, says: "cannot write the report",
      "closed")
  }

  @Test func `standard error that takes nothing changes nothing`() throws {
    let bench = try Bench(tokens: 8)
    for shell in ["exec 2>&-"] + (hasFullDevice ? ["exec 2>/dev/full"] : []) {
      let outcome = try inspect(bench, through: shell)
      #expect(outcome.code == 0 && outcome.output.contains("16 experts"), "\(shell)")
      let failed = try Tool.run(["inspect", bench.path("absent")], through: shell)
      #expect(failed.code == 1 && failed.output.isEmpty, "\(shell)")
    }
  }

  /// The first file that is opened would get the number of a stream that is closed.
  @Test func `a report never lands in an output`() throws {
    let bench = try Bench(.mixtral)
    let fit = try bench.fit()
    for (name, shell) in [("out", ":"), ("closed", "exec <&- >&- 2>&-")] {
      _ = try Tool.run(
        ["convert", bench.source, "--fit", fit, "-o", bench.path(name)], through: shell)
    }
    let whole = try fileTree(bench.folder.appending(path: "out"))
    #expect(try fileTree(bench.folder.appending(path: "closed")) == whole)
  }

  @Test func `progress for programs is one object a line, from nothing to all`() throws {
    let bench = try Bench()
    let arguments = [
      "convert", bench.source, "--calibration", bench.capture, "--refine", "0", "--output",
      bench.path("out"), "--overwrite",
    ]
    let told = try Tool.run(arguments + ["--progress", "json"])
    #expect(told.code == 0, "\(told.error)")
    let events = try told.errorLines.map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any], "\($0)")
    }
    let pieces = Dictionary(grouping: events) { $0["label"] as? String ?? "" }
    #expect(pieces.count > 1 && pieces[""] == nil)
    for (label, events) in pieces {
      #expect(events.first?["done"] as? Int == 0, "\(label)")
      #expect(events.last?["done"] as? Int == events.last?["total"] as? Int, "\(label)")
    }
    let quiet = try Tool.run(arguments + ["--progress", "json", "--quiet"])
    #expect(quiet.code == 0 && quiet.error.isEmpty)
  }
}
