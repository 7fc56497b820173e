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

@Test func `help of the tool names commands and exit codes`() throws {
  let outcome = try Tool.run("--help")
  #expect(outcome.code == 0)
  for word in ["EXAMPLES", "EXIT CODES"] + Help.commands.map({ "  " + $0 }) {
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
  (["inspect", "m", "--ep", "4"], "--ep"),
  (["inspect", "m", "--counts", "i", "--calibration", "c"], "--counts"),
  (["inspect", "m", "--imatrix", "i", "--calibration", "c"], "--counts"),
  (["inspect", "m", "--max-tokens", "9"], "--max-tokens"),
  (["inspect", "m", "--counts", "i", "--field", "f"], "--field"),
  (["inspect", "m", "--counts", "i", "--seed", "9"], "--seed"),
  (["place", "m", "--ep", "2", "--counts", "i", "--output", "o", "--length", "9"], "--length"),
  (["advise", "m", "--ep", "8"], "--calibration"),
  (["advise", "m", "--counts", "i"], "--ep"),
  (["advise", "m", "--counts", "i", "--ep", "8", "--batch", "0"], "--batch"),
  (["advise", "m", "--counts", "i", "--ep", "8", "--redundant", "0"], "--redundant"),
  (["advise", "m", "--counts", "i", "--ep", "8", "--flops", "0"], "--flops"),
  (["advise", "m", "--counts", "i", "--ep", "8", "--bandwidth", "inf"], "--bandwidth"),
  (["advise", "m", "--counts", "i", "--ep", "8", "--length", "9"], "--length"),
  (["validate", "m", "p", "--calibration", "c", "--batch", "9"], "--ep"),
  (["capture", "m", "--output", "o"], "--calibration"),
  (["capture", "m", "--calibration", "c"], "--output"),
  (
    ["capture", "m", "--calibration", "c", "--output", "o", "--resume-every", "-1"],
    "--resume-every"
  ),
  (["capture", "m", "--calibration", "c", "--output", "o", "--max-tokens", "1"], "--max-tokens"),
  (["capture", "m", "--calibration", "c", "--output", "o", "--length", "1"], "--length"),
  (["capture", "m", "--calibration", "c", "--output", "o", "--part", "0/2"], "--part"),
  (["capture", "m", "--calibration", "c", "--output", "o", "--part", "3/2"], "--part"),
  (["capture", "m", "--calibration", "c", "--output", "o", "--part", "2"], "--part"),
  (["fit", "m"], "--calibration"),
  (["fit", "m", "--output", "o"], "--calibration"),
  (["fit", "m", "--calibration", "c", "--strength", "-1.1"], "--strength"),
  (["fit", "m", "--calibration", "c", "--strength", "1", "--target-gini", "0.1"], "--strength"),
  (["fit", "m", "--calibration", "c", "--max-output-error", "inf"], "--max-output-error"),
  (["fit", "m", "--calibration", "c", "--similarity", "likeness"], "--similarity"),
  (["fit", "m", "--calibration", "c", "--encoder", "deep"], "--encoder"),
  (["fit", "m", "--calibration", "c", "--latent", "0"], "--latent"),
  (["fit", "m", "--calibration", "c", "--refine", "-1"], "--refine"),
  (["fit", "m", "--calibration", "c", "--weights", "1,2"], "--weights"),
  (["fit", "m", "--calibration", "c", "--fit", "f"], "--fit"),
  (["fit", "m", "--protect", "p"], "--protect"),
  (["fit"], "<checkpoint>"),
  (["fit", "m", "--calibration", "c", "--layers", "3-1"], "--layers"),
  (["fit", "m", "--calibration", "c", "--layers", "3/2"], "--layers"),
  (["fit", "m", "--calibration", "c", "--layers", "3"], "--layers"),
  (["fit", "--merge", "a", "b"], "--merge"),
  (["fit", "m", "--merge", "a", "b", "--output", "o"], "--merge"),
  (["fit", "--merge", "a", "--output", "o", "--layers", "0-1"], "--merge"),
  (["fit", "--merge", "a", "--output", "o", "--seed", "1"], "--merge"),
  (["fit", "m", "--calibration", "c", "--ep", "0"], "--ep"),
  (["fit", "m", "--calibration", "c", "--ep", "8", "--strength", "1"], "--ep"),
  (["fit", "m", "--calibration", "c", "--balance", "ranks"], "--ep"),
  (
    ["fit", "m", "--calibration", "c", "--balance", "experts", "--ep", "8"],
    "--ep asks for even ranks"
  ),
  (["fit", "m", "--calibration", "c", "--rank-slack", "0.1"], "--rank-slack"),
  (["fit", "m", "--calibration", "c", "--ep", "8", "--rank-slack", "-1"], "--rank-slack"),
  (["convert", "m", "--output", "o", "--fit", "f", "--ep", "8"], "--fit"),
  (["convert", "m", "--output", "o", "--fit", "f", "--prune", "8"], "--fit"),
  (
    ["convert", "m", "--calibration", "c", "--output", "o", "--prune", "-1"],
    "--prune must be 1 or more"
  ),
  (["convert", "m", "--calibration", "c", "--in-place", "--prune", "8"], "--prune"),
  (["convert", "m", "--calibration", "c", "--lora", "l", "--prune", "8"], "--prune"),
  (["fit", "m", "--calibration", "c", "--prune", "8", "--ep", "8"], "--prune"),
  (["fit", "m", "--calibration", "c", "--prune", "8", "--strength", "1"], "--prune"),
  (["fit", "m", "--calibration", "c", "--prune", "8", "--router", "lpr"], "--prune"),
  (["fit", "m", "--calibration", "c", "--prune", "8", "--latent", "8"], "--prune"),
  (["fit", "m", "--calibration", "c", "--prune", "8", "--protect", "p"], "--prune"),
  (["convert", "m"], "--output"),
  (["convert", "m", "--output", "o"], "--calibration"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--strength", "1.5"], "--strength"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--strength", "nan"], "--strength"),
  (
    ["convert", "m", "--calibration", "c", "--output", "o", "--target-gini", "-1"],
    "--target-gini must be between 0 and 1"
  ),
  (
    [
      "convert", "m", "--calibration", "c", "--output", "o", "--strength", "1", "--target-gini",
      "0.1",
    ], "--strength"
  ),
  (["convert", "m", "--calibration", "c", "--output", "o", "--router", "best"], "--router"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--latent", "0"], "--latent"),
  (["convert", "m", "--calibration", "c", "--output", "o", "--seed", "-1"], "--seed"),
  (["convert", "m", "--output", "o", "--fit"], "--fit"),
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
  (["convert", "m", "--output", "o", "--fit", "f", "--weights", "1"], "--weights"),
  (["convert", "m", "--output", "o", "--fit", "f", "--no-clones"], "--fit"),
  (["convert", "m", "--output", "o", "--fit", "f", "--similarity", "kl"], "--fit"),
  (["convert", "m", "--output", "o", "--fit", "f", "--mtp"], "--fit"),
  (["convert", "m", "--output", "o", "--fit", "f", "--seed", "1"], "--seed"),
  (["convert", "m", "--output", "o", "--fit", "f", "--max-tokens", "9"], "--max-tokens"),
  (["convert", "m", "--output", "o", "--fit", "f", "--field", "x"], "--field"),
  (["convert", "m", "--output", "o", "--fit", "f", "--length", "9"], "--length"),
  (["place", "m", "--calibration", "c", "--output", "o"], "--ep"),
  (["place", "m", "--ep", "4", "--output", "o"], "--counts"),
  (["place", "m", "--ep", "4", "--calibration", "c"], "--output"),
  (
    ["place", "m", "--ep", "4", "--calibration", "c", "--counts", "i", "--output", "o"], "--counts"
  ),
  (["place", "m", "--ep", "0", "--calibration", "c", "--output", "o"], "--ep"),
  (["place", "m", "--ep", "4", "--calibration", "c", "--map", "vllm:m.json"], "--map"),
  (["place", "m", "--ep", "4", "--calibration", "c", "--map", "m.json"], "--map"),
  (["place", "m", "--ep", "4", "--calibration", "c", "--map", "sglang:"], "--map"),
  (
    [
      "place", "m", "--ep", "4", "--calibration", "c", "--map", "sglang:m", "--redundant", "-1",
    ], "--redundant"
  ),
  (
    ["place", "m", "--ep", "4", "--calibration", "c", "--map", "sglang:m", "--nodes", "0"],
    "--nodes"
  ),
  (["sweep", "m"], "--calibration"),
  (["sweep", "m", "--calibration", "c", "--strengths", "0.5,0.4"], "--strengths"),
  (["sweep", "m", "--calibration", "c", "--strengths", "0.5,1.5"], "--strengths"),
  (["sweep", "m", "--calibration", "c", "--overwrite"], "--overwrite"),
  (["validate", "a"], "<patched>"),
  (["validate", "a", "b"], "--calibration"),
  (["validate", "a", "b", "--calibration", "c", "--max-gini", "low"], "--max-gini"),
  (["validate", "a", "b", "--calibration", "c", "--max-gini", "nan"], "--max-gini"),
  (["validate", "a", "b", "--calibration", "c", "--max-layer-gini", "nan"], "--max-layer-gini"),
  (["validate", "a", "b", "--calibration", "c", "--min-ratio", "inf"], "--min-ratio"),
  (
    ["validate", "a", "b", "--calibration", "c", "--max-output-error", "nan"], "--max-output-error"
  ),
  (
    ["validate", "a", "b", "--calibration", "c", "--max-perplexity-increase", "nan"],
    "--max-perplexity-increase"
  ),
  (["validate", "a", "b", "--calibration", "c", "--resume-every", "inf"], "--resume-every"),
  (["validate", "a", "b", "--calibration", "c", "--drift", "--max-gini", "0.1"], "--max-gini"),
  (["validate", "a", "b", "--calibration", "c", "--drift", "--resume"], "--resume"),
  (["check"], "<checkpoint>"),
  (["check", "m", "--target", "vllm,"], "--target"),
  (["check", "m", "--threads", "2"], "--threads"),
  (["apply", "d"], "<checkpoint>"),
  (["apply", "d", "m"], "--output"),
  (["revert"], "<checkpoint>"),
]

@Test(arguments: misuses)
func `misuse ends with code 2`(_ arguments: [String], _ word: String) throws {
  let outcome = try Tool.run(arguments)
  #expect(outcome.code == 2, "\(arguments)")
  #expect(outcome.output.isEmpty)
  #expect(outcome.error.contains(word), "\(arguments): \(outcome.error)")
}

/// Requests that contradict themselves.
@Test(arguments: [
  ["convert", "m", "--calibration", "c", "--in-place", "--output", "o"],
  ["convert", "m", "--calibration", "c", "--in-place", "--delta", "d"],
  ["convert", "m", "--calibration", "c", "--in-place", "--lora", "l"],
  ["convert", "m", "--calibration", "c", "--lora", "l", "--output", "o"],
  ["convert", "m", "--calibration", "c", "--lora-rank", "2", "--output", "o"],
  ["convert", "m", "--calibration", "c", "--lora-rank", "0", "--lora", "l"],
  ["convert", "m", "--calibration", "c", "--delta", "d", "--output", "o"],
  ["convert", "m", "--calibration", "c", "--link", "--delta", "d"],
  ["convert", "m", "--calibration", "c", "--fit", "f", "--output", "o"],
  ["convert", "m", "--calibration", "c", "--in-place", "--overwrite"],
  ["convert", "m", "--calibration", "c", "--dry-run", "--overwrite"],
  ["convert", "m", "--calibration", "c", "--dry-run", "--output", "o", "--resume"],
  ["convert", "m", "--fit", "f", "--output", "o", "--resume"],
  ["convert", "m", "--fit", "f", "--output", "o", "--resume-every", "5"],
  ["fit", "m", "--calibration", "c", "--overwrite"],
  ["fit", "m", "--calibration", "c", "--resume"],
  ["fit", "m", "--calibration", "c", "--resume-every", "5"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--in-place", "--overwrite"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--output", "o", "--map", "sglang:m"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--output", "o", "--delta", "d"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--output", "o", "--in-place"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--in-place", "--map", "sglang:m"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--output", "o", "--nodes", "4"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--output", "o", "--nodes", "2"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--link", "--delta", "d"],
  ["place", "m", "--ep", "4", "--calibration", "c", "--output", "o", "--strength", "1"],
])
func `contradictions are usage errors`(_ arguments: [String]) throws {
  let outcome = try Tool.run(arguments)
  #expect(outcome.code == 2, "\(outcome.error)")
  #expect(outcome.output.isEmpty)
}

/// What `place` and `fit` took over.
@Test(arguments: [
  ["--levers", "place"], ["--eplb", "e"], ["--imatrix", "i"], ["--nodes", "2"],
  ["--redundant", "4"], ["--save-fit", "f"],
])
func `convert has no options of other commands`(_ option: [String]) throws {
  let outcome = try Tool.run(["convert", "m", "--calibration", "c", "--output", "o"] + option)
  #expect(outcome.code == 2, "\(outcome.error)")
  #expect(outcome.error.contains(option[0]), "\(outcome.error)")
}
