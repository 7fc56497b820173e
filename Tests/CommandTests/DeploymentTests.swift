// SPDX-License-Identifier: Apache-2.0
//
// check, apply, revert and place, through the built tool.

import Foundation
import TestSupport
import Testing

extension Bench {
  fileprivate func place(_ arguments: String...) throws -> Tool.Outcome { try place(arguments) }

  fileprivate func place(_ arguments: [String]) throws -> Tool.Outcome {
    try Tool.run(["place", source, "--calibration", capture, "-q"] + arguments)
  }
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

@Test func `place writes checkpoints and maps from a capture`() throws {
  let bench = try Bench(.deepseek, .init(.byLayer))
  let placed = try bench.place("--ep", "2,4", "--output", bench.path("placed"))
  #expect(placed.code == 0, "\(placed.error)")
  #expect(placed.output.contains("max/mean load"))
  func map(_ name: String, _ more: String...) throws -> Tool.Outcome {
    try bench.place(["--map", "sglang:" + bench.path(name), "--ep", "4"] + more)
  }
  let plan = try map("eplb.json", "--redundant", "4")
  #expect(plan.code == 0, "\(plan.error)")
  #expect(bench.exists("eplb.json"))
  let before = try fileTree(bench.folder)
  requireRefusal(
    try map("eplb.json"), naming: bench.path("eplb.json"), says: "exists already", "second map")
  #expect(try map("eplb.json", "--overwrite").code == 0)
  #expect(try fileTree(bench.folder) != before)
  requireRefusal(
    try map("odd.json", "--redundant", "3"), naming: nil, says: "do not divide", "odd plan")
  #expect(!bench.exists("odd.json"))
}

@Test func `a renumbered checkpoint can be renumbered in place, by a delta and back`() throws {
  let bench = try Bench(.qwen3, .init(.byLayer))
  let source = bench.folder.appending(path: "source")
  let before = try fileTree(source)
  #expect(try bench.place("--ep", "2,4", "--output", bench.path("out")).code == 0)
  let written = try bench.place("--ep", "2,4", "--delta", bench.path("my.delta"), "--json")
  #expect(written.code == 0, "\(written.error)")
  #expect((try written.json()["delta_bytes"] as? Int ?? 0) > 0)
  #expect(
    try Tool.run(
      "apply", bench.path("my.delta"), bench.source, "--output", bench.path("applied"), "-q"
    ).code == 0)
  #expect(
    try fileTree(bench.folder.appending(path: "applied"))
      == fileTree(bench.folder.appending(path: "out")))
  #expect(try bench.place("--ep", "2,4", "--in-place").code == 0)
  #expect(try fileTree(source) != before)
  #expect(try Tool.run("revert", bench.source, "-q").code == 0)
  #expect(try fileTree(source) == before)
  // What convert wrote can be renumbered too.
  let converted = bench.path("converted")
  try #require(
    try bench.convert("--calibration", bench.capture, "--output", converted, "-q").code == 0)
  let placed = try Tool.run(
    "place", converted, "--calibration", bench.capture, "--ep", "4", "--output",
    bench.path("both"), "-q")
  #expect(placed.code == 0, "\(placed.error)")
  let same = try Tool.run(
    "validate", converted, bench.path("both"), "--calibration", bench.capture,
    "--max-output-error", "0.000001", "-q")
  #expect(same.code == 0, "\(same.error)\(same.output)")
}

@Test func `a map leaves layers of multi-token prediction out`() throws {
  let directory = try TemporaryDirectory()
  let model = SyntheticModel(.deepseek, tokens: 64, mtpLayers: 1)
  let source = directory.url.appending(path: "source")
  try model.writeSafetensors(.init(.single), to: source)
  let capture = try model.writeCapture(to: directory.url)
  let before = try fileTree(directory.url)
  requireRefusal(
    try Tool.run(
      "place", source.path(percentEncoded: false), "--calibration", capture, "--ep", "4", "--map",
      "sglang:" + directory.path("map.json"), "--mtp", "-q"), naming: nil,
    says: "--mtp: a map is for the model's own layers", "mtp")
  #expect(try fileTree(directory.url) == before)
}
