// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@Test func `what a killed run left beside the output is named once and stays`() throws {
  let bench = try Bench(.mixtral)
  let fit = try bench.fit()
  // No process has this number.
  let dead = "out.regate-2147483646-17.partial"
  let others = [
    "out.regate-\(ProcessInfo.processInfo.processIdentifier)-17.partial",
    "other.regate-2147483646-17.partial", "out.regate-2147483646-x.partial",
  ]
  for name in [dead, dead + ".old"] + others {
    try FileManager.default.createDirectory(
      atPath: bench.path(name), withIntermediateDirectories: false)
  }
  try FileManager.default.createSymbolicLink(
    atPath: bench.path("out.regate-2147483646-18.partial"), withDestinationPath: bench.source)
  try Data([1]).write(to: bench.folder.appending(path: "out.regate-2147483646-19.partial"))
  // Warnings come in quiet runs too.
  let outcome = try bench.convert("--fit", fit, "-o", bench.path("out"), "-q")
  #expect(outcome.code == 0, "\(outcome.error)")
  let warnings = outcome.errorLines.filter { $0.hasPrefix("warning: ") }
  #expect(
    warnings == [
      "warning: \(bench.path(dead)) is left of a killed run: remove it, unless another machine "
        + "writes there",
      "warning: \(bench.path(dead)).old is the output that a killed run was replacing: move it "
        + "back, or remove it",
    ])
  for name in [dead, dead + ".old"] + others { #expect(bench.exists(name), "\(name)") }
}
