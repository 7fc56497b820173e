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
  let folder = try TemporaryDirectory()
  func check(
    _ runtimes: String, _ more: String..., config: (inout [String: Any]) -> Void = { _ in },
    weight: (String, TinyModel.Weight) -> TinyModel.Weight? = { $1 }
  ) throws -> Tool.Outcome {
    // Foundation writes 0.0 as 0, which the class does not take.
    let change: (inout [String: Any]) -> Void = {
      for key in ["initializer_range", "router_aux_loss_coef"] { $0[key] = nil }
      config(&$0)
    }
    try TinyModel.qwen3.write(to: folder.url, config: change, weight: weight)
    return try Tool.run(["check", folder.path(""), "--target", runtimes] + more)
  }
  let all = try Tool.run("check", TinyModel.qwen3.path)
  #expect(all.code == 0)
  for words in [
    "vllm: loads (run in ", "transformers: loads (run in 5.23.0)",
    "llama.cpp: does not load", "mlx: ",
  ] { #expect(all.output.contains(words), "\(words)") }
  #expect(try check("transformers").code == 0)
  let quiet = try Tool.run("check", TinyModel.qwen3.path, "-q", "--target", "llama.cpp")
  #expect(quiet.code == 1 && quiet.output.isEmpty && quiet.error.isEmpty)
  let random = try check(
    "transformers", "--json", weight: { $0 == "model.norm.weight" ? nil : $1 })
  #expect(random.code == 1)
  let runtime = try #require((try random.json()["runtimes"] as? [[String: Any]])?.first)
  #expect(runtime["verdict"] as? String == "loads, but starts something at random")
  #expect(runtime["loads"] as? Bool == false)
  let finding = try #require((runtime["findings"] as? [[String: Any]])?.first)
  #expect(finding["names"] as? [String] == ["model.norm.weight"])
  #expect(try check("transformers", config: { $0["hidden_act"] = "foo" }).code == 1)
  let unknown = try check(
    "transformers", config: { $0["quantization_config"] = ["quant_method": "fp8"] })
  #expect(unknown.code == 0 && unknown.output.contains("transformers: not checked"))
  #expect(try Tool.run("check", TinyModel.qwen3.path, "--target", "cuda").code == 2)
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
  requireRefusal(
    try map("map.txt"), naming: bench.path("map.txt"), says: "ends in .json", "a name not read")
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

@Test func `rank counts that the experts cannot be on are refused`() throws {
  let bench = try Bench(.qwen3, .init(.single), tokens: 64)
  let fragment = "--ep: 64 ranks cannot share the 16 experts of"
  for arguments in [
    ["inspect", bench.source], ["validate", bench.source, bench.source],
    ["place", bench.source, "-o", bench.path("out")],
  ] {
    let outcome = try Tool.run(arguments + ["--calibration", bench.capture, "--ep", "2,64", "-q"])
    requireRefusal(outcome, naming: bench.source, says: fragment, arguments[0])
  }
}

@Test func `the manifest of a split output has the name of the whole`() throws {
  let bench = try Bench(gguf: .init(.f16, split: true), .mixtral)
  let delta = bench.path("my.delta")
  #expect(try bench.place(["--ep", "2", "--delta", delta]).code == 0)
  #expect(try bench.place(["--ep", "2", "-o", bench.path("placed.gguf")]).code == 0)
  let name = bench.path("applied-00001-of-00002.gguf")
  #expect(try Tool.run("apply", delta, bench.source, "-o", name).code == 0)
  for stem in ["placed", "applied"] {
    let files = try fileTree(bench.folder).keys.filter { $0.hasPrefix(stem) }
    #expect(
      files.sorted() == [
        "\(stem)-00001-of-00002.gguf", "\(stem)-00002-of-00002.gguf", "\(stem).regate.json",
      ])
  }
}

@Test func `a delta with bytes that belong to nothing is refused`() throws {
  let bench = try Bench(.mixtral, .init(.single), tokens: 64)
  let delta = bench.path("my.delta")
  #expect(try bench.place(["--ep", "2", "--delta", delta]).code == 0)
  var bytes = try Data(contentsOf: URL(filePath: delta))
  bytes.append(0)
  try bytes.write(to: URL(filePath: delta))
  requireRefusal(
    try Tool.run("apply", delta, bench.source, "-o", bench.path("out")), naming: delta,
    says: "but its pieces end at", "trailing byte")
}

@Test func `a change in place that changes nothing promises no way back`() throws {
  let bench = try Bench(.qwen3, .init(.single), tokens: 64)
  let none = ["--calibration", bench.capture, "--strength", "0"]
  let text = try Tool.run(["convert", bench.source, "--in-place", "-q"] + none)
  #expect(text.code == 0)
  #expect(text.output.contains("Nothing changes: no file was written."))
  #expect(!text.output.contains("takes it back"))
  let report = try Tool.run(["convert", bench.source, "--in-place", "-q", "--json"] + none).json()
  #expect((report["in_place"] as? [String: Any])?["undo"] is NSNull)
  #expect(try Tool.run(["convert", bench.source, "-o", bench.path("out"), "-q"] + none).code == 0)
  let manifest = try JSONSerialization.jsonObject(
    with: Data(contentsOf: bench.folder.appending(path: "out/regate.json")))
  #expect((manifest as? [String: Any])?["router"] as? String == "unchanged")
}

@Test func `an output that only the stock router can have names no other choice`() throws {
  let bench = try Bench(.qwen3, .init(.single), tokens: 64)
  let plan = try bench.convert("--calibration", bench.capture, "--in-place", "--dry-run")
  #expect(plan.output.contains("In place: routers ") && plan.output.contains("are written over"))
  #expect(!plan.output.contains("Choose --router lpr") && !plan.output.contains("Output:"))
  let lora = try bench.convert(
    "--calibration", bench.capture, "--lora", bench.path("l"), "--dry-run")
  #expect(lora.output.contains("Adapter: ") && !lora.output.contains("Choose --router lpr"))
  let copy = try bench.convert(
    "--calibration", bench.capture, "--router", "stock", "-o", bench.path("out"), "--dry-run")
  #expect(copy.output.contains("Choose --router lpr") && copy.output.contains("Output: "))
}

@Test func `a copy without some experts travels through the tool`() throws {
  let bench = try Bench(.qwen3, .init(.byLayer))
  let out = bench.path("pruned")
  let written = try bench.convert(
    "--calibration", bench.capture, "--prune", "4", "--output", out, "-q", "--json")
  #expect(written.code == 0, "\(written.error)")
  #expect(try written.json()["pruned"] as? [String: [Int]] != nil)
  let compared = try Tool.run(
    "validate", bench.source, out, "--calibration", bench.capture, "-q", "--json")
  let layers = try compared.json()["layers"] as? [[String: Any]] ?? []
  #expect(!layers.isEmpty && layers.allSatisfy { $0["logical_experts"] as? Int == 12 })
  // The other way round there are experts too many.
  requireRefusal(
    try Tool.run("validate", out, bench.source, "--calibration", bench.capture, "-q"), naming: nil,
    says: "more experts", "the other way round")
  requireRefusal(
    try bench.convert(
      "--calibration", bench.capture, "--prune", "14", "--output", bench.path("again"), "-q"),
    naming: nil, says: "--prune: is 14, but of the 16 experts 4 must stay", "too many")
}

@Test func `what should be known of a checkpoint is said wherever it is used`() throws {
  let bench = try Bench(.qwen3, .init(.single), tokens: 64)
  let file = URL(filePath: bench.source + "/config.json")
  let config = String(decoding: try Data(contentsOf: file), as: UTF8.self)
  let typed = try #require(config.firstMatch(of: /"model_type" ?: ?"qwen3_moe",?/))
  var untyped = config
  untyped.replaceSubrange(typed.range, with: "")
  try Data(untyped.utf8).write(to: file)
  let words = "warning: model_type is absent, and only \"architectures\" says Qwen3-MoE"
  let traffic = ["--calibration", bench.capture]
  for arguments in [
    ["place", bench.source, "--ep", "2", "--output", bench.path("placed")] + traffic,
    ["fit", bench.source, "--refine", "0", "--output", bench.path("my.fit")] + traffic,
    ["convert", bench.source, "--fit", bench.path("my.fit"), "-o", bench.path("out")],
  ] {
    let outcome = try Tool.run(arguments)
    #expect(outcome.code == 0 && outcome.errorLines.filter { $0.hasPrefix(words) }.count == 1)
    #expect(!outcome.output.contains("--router lpr"), "\(arguments[0]) offers what cannot be")
  }
  let plan = try bench.convert("--dry-run")
  #expect(plan.output.contains(words) && !plan.output.contains("--router lpr"))
  // It is said before anything is refused.
  let capture = try Tool.run(
    "capture", bench.source, "--calibration", bench.capture, "-o", bench.path("made.safetensors"))
  #expect(capture.code == 1 && capture.errorLines.count == 2)
  #expect(capture.errorLines[0].hasPrefix(words))
}
