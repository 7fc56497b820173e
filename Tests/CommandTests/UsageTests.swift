// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

@Test func `the version is printed`() throws {
  let outcome = try Tool.run("--version")
  #expect(outcome.code == 0)
  #expect(outcome.output.wholeMatch(of: /\d+\.\d+\.\d+\n/) != nil)
  #expect(outcome.error.isEmpty)
}

@Test(arguments: ["inspect", "convert", "validate", "sweep"])
func `help of a command shows examples that name it`(_ command: String) throws {
  for arguments in [[command, "--help"], ["help", command]] {
    let outcome = try Tool.run(arguments)
    #expect(outcome.code == 0)
    #expect(outcome.error.isEmpty)
    let lines = outcome.output.split(separator: "\n").map(String.init)
    #expect(lines.contains("EXAMPLES"))
    #expect(lines.contains { $0.hasPrefix("  regate \(command) ") })
    #expect(lines.contains { $0.hasPrefix("USAGE: regate \(command)") })
    for option in ["--json", "--quiet", "--threads", "--calibration"] {
      #expect(outcome.output.contains(option), "\(option)")
    }
  }
}

@Test func `help of the tool names commands and exit codes`() throws {
  let outcome = try Tool.run("--help")
  #expect(outcome.code == 0)
  for word in ["EXAMPLES", "EXIT CODES", "  inspect", "  convert", "  validate", "  sweep"] {
    #expect(outcome.output.contains(word), "\(word)")
  }
}

/// Requests that are wrong by themselves, whatever the files: code 2, with a word of the reason.
private let misuses: [([String], String)] = [
  (["frobnicate"], "frobnicate"),
  (["inspect"], "<checkpoint>"),
  (["inspect", "m", "--frobnicate"], "--frobnicate"),
  (["inspect", "m", "--threads", "0"], "--threads"),
  (["inspect", "m", "--threads", "many"], "--threads"),
  (["inspect", "m", "--ep", "2,x"], "--ep"),
  (["inspect", "m", "--ep", "0"], "--ep"),
  (["inspect", "m", "--imatrix", "i", "--calibration", "c"], "--imatrix"),
  (["convert", "m"], "--output"),
  (["convert", "m", "--output", "o"], "--calibration"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--strength", "1.5"], "--strength"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--strength", "nan"], "--strength"),
  (
    ["convert", "m", "--calibration", "c", "--output", "o", "--target-gini", "-1"], "--target-gini"
  ),
  (
    [
      "convert", "m", "--calibration", "c", "--output", "o", "--strength", "1", "--target-gini",
      "0.1",
    ], "--strength"
  ),
  (["convert", "m", "--calibration", "c", "--output", "o", "--router", "best"], "--router"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--levers", "clone"], "--levers"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--levers", "route,"], "--levers"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--latent", "0"], "--latent"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--seed", "-1"], "--seed"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--fit"], "--dry-run"),
  (["convert", "m", "--dry-run", "--fit"], "--calibration"),
  (["convert", "m", "--output", "o", "--fit", "f", "--calibration", "c"], "--fit"),
  (["convert", "m", "--output", "o", "--fit", "f", "--strength", "1"], "--fit"),
  (
    ["convert", "m", "--calibration", "c", "--output", "o", "--max-loss-increase", "-1"],
    "--max-loss-increase"
  ),
  (
    [
      "convert", "m", "--calibration", "c", "--output", "o", "--max-output-error", "1",
      "--max-loss-increase", "1",
    ], "--max-output-error"
  ),
  (
    ["convert", "m", "--calibration", "c", "--output", "o", "--weights", "1,2"], "--weights"
  ),
  (["convert", "m", "--calibration", "c", "--output", "o", "--weights", "0"], "--weights"),
  (["convert", "m", "--dry-run", "--protect", "p"], "--protect"),
  (["sweep", "m"], "--calibration"),
  (["sweep", "m", "--calibration", "c", "--strengths", "0.5,0.4"], "--strengths"),
  (["sweep", "m", "--calibration", "c", "--strengths", "0.5,1.5"], "--strengths"),
  (["sweep", "m", "--calibration", "c", "--overwrite"], "--overwrite"),
  (["validate", "a"], "<patched>"),
  (["validate", "a", "b"], "--calibration"),
  (["validate", "a", "b", "--calibration", "c", "--max-gini", "low"], "--max-gini"),
]

@Test(arguments: misuses)
func `misuse ends with code 2`(_ arguments: [String], _ word: String) throws {
  let outcome = try Tool.run(arguments)
  #expect(outcome.code == 2, "\(arguments)")
  #expect(outcome.output.isEmpty)
  #expect(outcome.error.contains(word), "\(arguments): \(outcome.error)")
}
