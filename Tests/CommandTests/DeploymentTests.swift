// SPDX-License-Identifier: Apache-2.0
//
// check, apply, revert and conversions that are killed, through the built tool.

import Foundation
import TestSupport
import Testing

extension Bench {
  /// A fit file of this model.
  fileprivate func fit(_ name: String = "my.fit", _ more: [String] = []) throws -> String {
    let path = path(name)
    let outcome = try Tool.run(
      ["convert", source, "--calibration", capture, "--save-fit", path, "-q"] + more)
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

/// A checkpoint, and what is done to it when it is killed.
struct Killed: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let bench: @Sendable () throws -> Bench
  /// Options of the conversion beside its output and a fit; nil: renumbered by the capture.
  let options: [String]?

  init(
    _ label: String, _ options: [String]? = [], _ bench: @escaping @Sendable () throws -> Bench
  ) {
    testDescription = label
    self.options = options
    self.bench = bench
  }

  /// The arguments that make a conversion of what `bench` made.
  fileprivate func arguments(_ bench: Bench) throws -> [String] {
    guard let options else {
      return ["convert", bench.source, "--calibration", bench.capture, "--levers", "place", "-q"]
    }
    var fitting: [String] = []
    if options.contains("lpr-official") { fitting = options + ["--latent", "8", "--refine", "0"] }
    let fit = try bench.fit("my.fit", fitting)
    return ["convert", bench.source, "--fit", fit, "-q"] + options
  }
}

private let inPlace = [
  Killed("safetensors") { try Bench(.qwen3, .init(.byLayer)) },
  Killed("fused experts") { try Bench(.mixtral, .init(.single, fused: true)) },
  Killed("a selection bias") { try Bench(.deepseek, .init(.byLayer, bias: .f32)) },
  Killed("GGUF") { try Bench(gguf: .init(.q8_0), .qwen3) },
  Killed("GGUF in two files") { try Bench(gguf: .init(.f16, split: true), .deepseek) },
  Killed("renumbered", nil) { try Bench(.qwen3, .init(.byLayer)) },
]

@Test(.serialized, arguments: inPlace)
func `a conversion in place that is killed at any moment can be taken back`(
  _ killed: Killed
) throws {
  let bench = try killed.bench()
  let convert = try killed.arguments(bench) + ["--in-place"]
  let source = try bench.sourceTree()
  let start = ContinuousClock.now
  #expect(try Tool.run(convert).code == 0)
  let whole = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
  #expect(try bench.sourceTree() != source)
  #expect(try Tool.run("revert", bench.source, "-q").code == 0)
  #expect(try bench.sourceTree() == source)
  var random = SeededGenerator(seed: 31)
  var changed = 0
  for number in 0..<15 {
    // Later kills come later: a machine that became slower still gets behind the undo file.
    let latest = whole * (1.1 + 0.1 * Double(number))
    try Tool.kill(convert, after: Double.random(in: 0...latest, using: &random))
    let undo = try bench.sourceTree().keys.contains { $0.hasSuffix("undo.delta") }
    if undo {
      changed += 1
      // Reverting can be killed too.
      try Tool.kill(
        ["revert", bench.source, "-q"], after: Double.random(in: 0...whole, using: &random))
      let again = try Tool.run("revert", bench.source, "-q")
      #expect(again.code == 0 || again.error.contains("it was reverted"), "\(again.error)")
    }
    #expect(try bench.sourceTree() == source)
  }
  #expect(changed > 0, "no kill came after the undo file")
}

private let outputs = [
  Killed("lpr") { try Bench(.qwen3, .init(.byLayer)) },
  Killed("lpr-official", ["--router", "lpr-official"]) { try Bench(.qwen3, .init(.byLayer)) },
  Killed("lpr-official, one file", ["--router", "lpr-official"]) {
    try Bench(.mixtral, .init(.single))
  },
  Killed("stock, linked", ["--router", "stock", "--link"]) {
    try Bench(.deepseek, .init(.byLayer))
  },
  Killed("GGUF in two files") { try Bench(gguf: .init(.f16, split: true), .deepseek) },
]

@Test(.serialized, arguments: outputs)
func `an output that is killed is whole or not there`(_ killed: Killed) throws {
  let bench = try killed.bench()
  let convert = try killed.arguments(bench)
  let gguf = bench.source.hasSuffix(".gguf")
  /// A GGUF output gets a folder, so that its files are all of the output.
  func output(_ name: String) throws -> String {
    guard gguf else { return bench.path(name) }
    try FileManager.default.createDirectory(
      atPath: bench.path(name), withIntermediateDirectories: true)
    return bench.path(name + "/model.gguf")
  }
  func tree(_ name: String) throws -> [String: Data] {
    try fileTree(bench.folder.appending(path: name)).filter { !$0.key.contains(".partial") }
  }
  let source = try bench.sourceTree()
  let start = ContinuousClock.now
  #expect(try Tool.run(convert + ["--output", output("good")]).code == 0)
  let time = Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
  let good = try tree("good")
  /// What is under the final name: readers find an output by its folder, or by its first file.
  func requireWholeOrAbsent(_ name: String) throws {
    let found = try gguf || bench.exists(name) ? tree(name) : [:]
    let isThere = gguf ? found.keys.contains { $0.contains("00001-of") } : !found.isEmpty
    if isThere { #expect(found == good, "\(name)") }
  }
  var random = SeededGenerator(seed: 32)
  for number in 0..<12 {
    let name = "out-\(number)"
    try Tool.kill(
      convert + ["--output", output(name)],
      after: Double.random(in: 0...time * 1.1, using: &random))
    try requireWholeOrAbsent(name)
    // Whatever is left is not in the way of another try, nor of replacing what is there.
    let again = convert + ["--output", try output(name), "--overwrite"]
    try Tool.kill(again, after: Double.random(in: 0...time * 1.1, using: &random))
    try requireWholeOrAbsent(name)
    if number == 11 {
      #expect(try Tool.run(again).code == 0)
      #expect(try tree(name) == good)
    }
  }
  #expect(try bench.sourceTree() == source)
}

@Test func `a delta or what is made of it that is killed is whole or not there`() throws {
  let bench = try Bench(.qwen3, .init(.byLayer))
  let fit = try bench.fit()
  func write(_ name: String) -> [String] {
    ["convert", bench.source, "--fit", fit, "--delta", bench.path(name), "-q"]
  }
  func apply(_ name: String) -> [String] {
    ["apply", bench.path("good.delta"), bench.source, "--output", bench.path(name), "-q"]
  }
  let start = ContinuousClock.now
  #expect(try Tool.run(write("good.delta")).code == 0)
  #expect(try Tool.run(apply("good")).code == 0)
  let time = Double((ContinuousClock.now - start) / .milliseconds(1)) / 2000
  let delta = try Data(contentsOf: bench.folder.appending(path: "good.delta"))
  let good = try fileTree(bench.folder.appending(path: "good"))
  let source = try bench.sourceTree()
  var random = SeededGenerator(seed: 33)
  for number in 0..<12 {
    let (file, folder) = ("\(number).delta", "out-\(number)")
    try Tool.kill(write(file), after: Double.random(in: 0...time * 1.1, using: &random))
    if bench.exists(file) {
      #expect(try Data(contentsOf: bench.folder.appending(path: file)) == delta)
    }
    try Tool.kill(apply(folder), after: Double.random(in: 0...time * 1.1, using: &random))
    if bench.exists(folder) { #expect(try fileTree(bench.folder.appending(path: folder)) == good) }
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
  #expect((try vllm.json()["runtimes"] as? [[String: Any]])?.count == 2)
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
  ["--calibration", "c", "--lora", "l", "--levers", "route", "--mtp"],
  ["--calibration", "c", "--eplb", "e", "--mtp"],
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
