// SPDX-License-Identifier: Apache-2.0
//
// Relative paths of one character, which the directory functions of some Foundations trap on.

import Foundation
import TestSupport
import Testing

@Test func `a relative path of one character is as good as any`() throws {
  let bench = try Bench(.mixtral)
  try FileManager.default.moveItem(atPath: bench.source, toPath: bench.path("m"))
  let fit = try bench.fit()
  for arguments in [
    ["fit", "m", "--calibration", bench.capture, "--strength", "0", "-o", "f"],
    ["convert", "m", "--fit", fit, "-o", "b"], ["convert", "m", "--fit", fit, "--delta", "d"],
    ["convert", "m", "--fit", fit, "--router", "stock", "--in-place"], ["revert", "m"],
  ] {
    let outcome = try Tool.run(arguments + ["-q"], in: bench.folder)
    #expect(outcome.code == 0, "\(arguments): \(outcome.error)")
  }
  for name in ["f", "b", "d"] { #expect(bench.exists(name)) }
}
