// SPDX-License-Identifier: Apache-2.0
//
// check, apply, revert and conversions that are killed, through the built tool.

import Foundation
import TestSupport
import Testing

extension Bench {
  /// A fit file of this model.
  fileprivate func fit() throws -> String {
    let path = path("my.fit")
    let outcome = try convert("--calibration", capture, "--save-fit", path, "-q")
    #expect(outcome.code == 0, "\(outcome.error)")
    return path
  }

  /// What lies in the source, without leftovers that a kill may leave under hidden names.
  fileprivate func sourceTree() throws -> [String: Data] {
    try fileTree(folder.appending(path: "source")).filter { !$0.key.contains(".partial") }
  }
}

extension Tool {
  /// Starts the tool and kills it after `delay` seconds, if it still runs then.
  fileprivate static func kill(_ arguments: [String], after delay: Double) throws {
    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = arguments
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    Thread.sleep(forTimeInterval: delay)
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }
}

@Test(.serialized, arguments: [false, true])
func `a conversion in place that is killed at any moment can be taken back`(_ gguf: Bool) throws {
  let bench = try gguf ? Bench(gguf: .init(.q8_0), .qwen3) : Bench(.qwen3, .init(.byLayer))
  let fit = try bench.fit()
  let source = try bench.sourceTree()
  let convert = ["convert", bench.source, "--fit", fit, "--in-place", "-q"]
  let start = ContinuousClock.now
  #expect(try Tool.run(convert).code == 0)
  let whole = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
  #expect(try bench.sourceTree() != source)
  #expect(try Tool.run("revert", bench.source, "-q").code == 0)
  #expect(try bench.sourceTree() == source)
  var random = SeededGenerator(seed: 31)
  for _ in 0..<25 {
    try Tool.kill(convert, after: Double.random(in: 0...whole * 1.1, using: &random))
    let undo = try bench.sourceTree().keys.contains { $0.hasSuffix("undo.delta") }
    if undo {
      // Reverting can be killed too.
      try Tool.kill(
        ["revert", bench.source, "-q"], after: Double.random(in: 0...whole, using: &random))
      let again = try Tool.run("revert", bench.source, "-q")
      #expect(again.code == 0 || again.error.contains("it was reverted"), "\(again.error)")
    }
    #expect(try bench.sourceTree() == source)
  }
}

@Test func `an output that is killed is whole or not there`() throws {
  let bench = try Bench(.qwen3, .init(.byLayer))
  let fit = try bench.fit()
  func arguments(_ name: String) -> [String] {
    ["convert", bench.source, "--fit", fit, "--output", bench.path(name), "-q"]
  }
  let source = try bench.sourceTree()
  let start = ContinuousClock.now
  #expect(try Tool.run(arguments("good")).code == 0)
  let time = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
  let good = try fileTree(bench.folder.appending(path: "good"))
  var random = SeededGenerator(seed: 32)
  for number in 0..<20 {
    let name = "out-\(number)"
    try Tool.kill(arguments(name), after: Double.random(in: 0...time * 1.1, using: &random))
    if bench.exists(name) { #expect(try fileTree(bench.folder.appending(path: name)) == good) }
  }
  #expect(try bench.sourceTree() == source)
}

@Test func `a delta travels through the tool`() throws {
  let bench = try Bench(.qwen3, .init(.byLayer))
  let fit = try bench.fit()
  let delta = bench.path("my.delta")
  let written = try bench.convert("--fit", fit, "--delta", delta, "-q", "--json")
  #expect(written.code == 0, "\(written.error)")
  #expect((try written.json()["delta_bytes"] as? Int ?? 0) > 0)
  requireRefusal(
    try bench.convert("--fit", fit, "--delta", delta, "-q"), naming: delta, says: "exists already",
    "second delta")
  let applied = try Tool.run("apply", delta, bench.source, "--output", bench.path("out"), "--json")
  #expect(applied.code == 0, "\(applied.error)")
  #expect((try applied.json()["files"] as? [String] ?? []).contains("regate.json"))
  #expect(try bench.convert("--fit", fit, "--output", bench.path("direct"), "-q").code == 0)
  #expect(
    try fileTree(bench.folder.appending(path: "out"))
      == fileTree(bench.folder.appending(path: "direct")))
  requireRefusal(
    try Tool.run("apply", delta, bench.source, "--output", bench.path("out")),
    naming: bench.path("out"), says: "exists already", "second output")
  requireRefusal(
    try Tool.run("apply", delta, bench.path("out"), "--output", bench.path("twice")), naming: nil,
    says: "is not the file that the delta was made of", "wrong base")
  requireRefusal(
    try Tool.run("apply", fit, bench.source, "--output", bench.path("twice")), naming: fit,
    says: "is no delta", "no delta")
  requireRefusal(
    try Tool.run("revert", bench.path("out")), naming: bench.path("out"),
    says: "nothing was changed in place", "an output")
  #expect(!bench.exists("twice"))
}

@Test func `check is a verdict for scripts`() throws {
  let bench = try Bench(.mixtral, .init(.single, fused: true), tokens: 8)
  let all = try Tool.run("check", bench.source)
  #expect(all.code == 0)
  for word in ["vllm: ", "sglang: ", "transformers: loads", "llama.cpp: does not load", "mlx: "] {
    #expect(all.output.contains(word), "\(word)")
  }
  #expect(try Tool.run("check", bench.source, "--target", "transformers").code == 0)
  let vllm = try Tool.run("check", bench.source, "--target", "vllm,transformers", "--json")
  #expect(vllm.code == 1)
  #expect((try vllm.json()["stacks"] as? [[String: Any]])?.count == 2)
  #expect(try Tool.run("check", bench.source, "--target", "cuda").code == 2)
}

@Test func `place and plans need no inference`() throws {
  let bench = try Bench(.deepseek, .init(.byLayer))
  let placed = try bench.convert(
    "--calibration", bench.capture, "--levers", "place", "--ep", "2,4", "--output",
    bench.path("placed"), "-q")
  #expect(placed.code == 0, "\(placed.error)")
  #expect(placed.output.contains("max/mean load"))
  let plan = try bench.convert(
    "--calibration", bench.capture, "--eplb", bench.path("eplb.json"), "--ep", "4",
    "--redundant", "4", "-q")
  #expect(plan.code == 0, "\(plan.error)")
  #expect(bench.exists("eplb.json"))
  requireRefusal(
    try bench.convert(
      "--calibration", bench.capture, "--eplb", bench.path("odd.json"), "--ep", "4",
      "--redundant", "3", "-q"), naming: nil, says: "do not divide", "odd plan")
  #expect(!bench.exists("odd.json"))
}

/// Requests that contradict themselves.
@Test(arguments: [
  ["--calibration", "c", "--in-place", "--output", "o"],
  ["--calibration", "c", "--in-place", "--delta", "d"],
  ["--calibration", "c", "--lora", "l"],
  ["--calibration", "c", "--lora", "l", "--levers", "place,route"],
  ["--calibration", "c", "--lora-rank", "2", "--output", "o"],
  ["--calibration", "c", "--levers", "place,clone", "--output", "o"],
  ["--calibration", "c", "--levers", "place", "--output", "o", "--strength", "1"],
  ["--calibration", "c", "--ep", "4", "--output", "o"],
  ["--calibration", "c", "--redundant", "4", "--output", "o"],
  ["--calibration", "c", "--eplb", "e", "--output", "o"],
  ["--calibration", "c", "--nodes", "2", "--output", "o"],
  ["--imatrix", "i", "--output", "o"],
  ["--imatrix", "i", "--calibration", "c", "--eplb", "e"],
  ["--fit", "f", "--levers", "place,clone,route", "--output", "o"],
  ["--calibration", "c", "--link", "--delta", "d"],
])
func `contradictions are usage errors`(_ arguments: [String]) throws {
  let outcome = try Tool.run(["convert", "m"] + arguments)
  #expect(outcome.code == 2, "\(outcome.error)")
  #expect(outcome.output.isEmpty)
}
