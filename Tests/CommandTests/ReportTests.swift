// SPDX-License-Identifier: Apache-2.0
//
// What the commands print, and their exit codes, on sound models.

import Foundation
import TestSupport
import Testing

private let layerKeys: Set<String> = [
  "index", "experts", "top_k", "scoring", "groups", "shared_experts", "router_dtype", "row_norm",
  "max_cosine", "effective_rank", "bias_range", "load", "gini", "min_max",
]
private let balanceKeys: Set<String> = ["gini", "min_max", "cv", "max_over_mean"]

private func keys(_ value: Any?) -> Set<String> { Set((value as? [String: Any] ?? [:]).keys) }

private func objects(_ value: Any?) -> [[String: Any]] { value as? [[String: Any]] ?? [] }

@Test func `inspect without load prints null for what is not known`() throws {
  let bench = try Bench()
  let outcome = try Tool.run("inspect", bench.source, "--json")
  #expect(outcome.code == 0)
  #expect(outcome.error.isEmpty)
  let report = try outcome.json()
  #expect(report["family"] as? String == "qwen3_moe")
  #expect(report["container"] as? String == "safetensors")
  let layers = objects(report["layers"])
  #expect(layers.compactMap { $0["index"] as? Int } == [0, 1])
  for layer in layers {
    #expect(keys(layer).isSuperset(of: layerKeys))
    #expect(layer["experts"] as? Int == 16)
    #expect(layer["top_k"] as? Int == 4)
    #expect(layer["scoring"] as? String == "softmax")
    #expect(layer["router_dtype"] as? String == "BF16")
    #expect(keys(layer["row_norm"]) == ["min", "mean", "max"])
    for key in ["load", "gini", "min_max", "groups", "bias_range"] {
      #expect(layer[key] is NSNull, "\(key)")
    }
  }
}

/// Errors are one line anyway; warnings and reports name files and tensors too.
@Test func `control characters in names reach no terminal`() throws {
  let bench = try Bench()
  try Data([1]).write(to: bench.folder.appending(path: "source/old\u{1B}[2J\u{9B}1m.pt"))
  for arguments in [["inspect", bench.source], ["convert", bench.source, "--dry-run"]] {
    let outcome = try Tool.run(arguments + ["--calibration", bench.capture])
    let shown = outcome.output + outcome.error
    #expect(outcome.code == 0 && shown.contains("old\u{FFFD}[2J\u{FFFD}1m.pt"), "\(shown)")
    #expect(!shown.unicodeScalars.contains { ["\u{1B}", "\u{9B}"].contains($0) })
    let report = try Tool.run(
      arguments + ["--calibration", bench.capture, "--json", "--progress", "json"])
    #expect(report.code == 0 && report.output.contains(#"old\u001b[2J\u009b1m.pt"#))
    #expect(
      !(report.output + report.error).unicodeScalars.contains { (0x7F...0x9F).contains($0.value) })
    #expect("\(try report.json())".contains("\u{9B}"))
  }
}

@Test func `inspect with a capture counts the load`() throws {
  let bench = try Bench(.deepseek, .init(.scattered))
  let outcome = try Tool.run(
    "inspect", bench.source, "--calibration", bench.capture, "--ep", "2,4", "--json", "--quiet")
  #expect(outcome.code == 0)
  #expect(outcome.error.isEmpty)
  let layers = objects(try outcome.json()["layers"])
  #expect(layers.compactMap { $0["index"] as? Int } == [1, 2])
  for layer in layers {
    let load = try #require(layer["load"] as? [Int])
    #expect(load.count == 16)
    #expect(load.reduce(0, +) == 512 * 4)
    #expect((layer["gini"] as? Double ?? 0) > 0.2)
    #expect(keys(layer["groups"]) == ["count", "kept", "score"])
    #expect((layer["bias_range"] as? [Double])?.count == 2)
    #expect(keys(layer["rank_max_over_mean"]) == ["2", "4"])
  }
  let text = try Tool.run("inspect", bench.source, "--calibration", bench.capture)
  #expect(text.code == 0)
  #expect(text.output.contains("DeepSeek-V3"))
  #expect(text.output.contains("Gini"))
}

@Test func `a plan names every router and writes nothing`() throws {
  let bench = try Bench(.mixtral, .init(.single))
  let before = try fileTree(bench.folder)
  for extra in [[], ["--calibration", bench.capture], ["--output", bench.path("out")]] {
    let outcome = try Tool.run(["convert", bench.source, "--dry-run", "--json"] + extra)
    #expect(outcome.code == 0)
    #expect(outcome.error.isEmpty)
    let plan = try outcome.json()
    #expect(plan["router"] as? String == "lpr")
    #expect(plan["tokens"] as? Int == (extra.first == "--calibration" ? 512 : nil))
    #expect((plan["tokens"] is NSNull) == (extra.first != "--calibration"))
    let tensors = objects(plan["layers"]).compactMap { $0["tensors"] as? [String] }
    #expect(
      tensors == (0..<2).map { ["model.layers.\($0).block_sparse_moe.gate.weight"] })
    // 3 matrices of 64 x 32 in BF16.
    #expect(objects(plan["layers"]).allSatisfy { $0["expert_bytes"] as? Int == 3 * 64 * 32 * 2 })
  }
  let text = try Tool.run("convert", bench.source, "--dry-run")
  #expect(text.output.hasPrefix("Writing the prototype router (--router lpr)"))
  #expect(text.output.contains("--router stock"))
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a fit without an output shows figures and writes nothing`() throws {
  let bench = try Bench()
  let before = try fileTree(bench.folder)
  let outcome = try Tool.run("fit", bench.source, "--calibration", bench.capture, "--json", "-q")
  #expect(outcome.code == 0)
  #expect(outcome.error.isEmpty)
  let report = try outcome.json()
  #expect(report["output"] is NSNull)
  #expect(report["router"] as? String == "lpr")
  #expect(report["held_out_gini"] is Double)
  #expect(keys(report["held_out"]).isSuperset(of: ["gini", "min_max", "output_error"]))
  for layer in objects(report["layers"]) {
    #expect(keys(layer).isSuperset(of: ["explained_variance", "clones", "latent_size"]))
    for figures in ["held_out", "original_held_out"] {
      #expect(keys(layer[figures]).isSuperset(of: ["gini", "min_max", "overlap"]), "\(figures)")
    }
  }
  let few = try bench.model.writeCapture(to: bench.folder, name: "few", tokens: 0..<64)
  let text = try Tool.run("fit", bench.source, "--calibration", few)
  #expect(text.code == 0)
  #expect(text.output.contains("least Gini"))
  #expect(text.output.contains("too few calibration tokens"))
  try FileManager.default.removeItem(atPath: few)
  #expect(try fileTree(bench.folder) == before)
}

@Test func `convert by a fit writes what convert by its traffic does`() throws {
  let bench = try Bench(tokens: 64)
  let fit = bench.path("my.fit")
  #expect(
    try Tool.run(
      "fit", bench.source, "--calibration", bench.capture, "--output", fit, "-q"
    ).code == 0)
  let plan = try bench.convert("--fit", fit, "--dry-run")
  #expect(plan.code == 0, "\(plan.error)")
  #expect(plan.output.contains("Nothing is fitted"))
  let outcome = try bench.convert("--fit", fit, "--output", bench.path("by-fit"), "--json", "-q")
  #expect(outcome.code == 0, "\(outcome.error)")
  let report = try outcome.json()
  #expect(report["fit_seconds"] is NSNull)
  #expect(
    try bench.convert("--calibration", bench.capture, "--output", bench.path("out"), "-q").code == 0
  )
  // All but the manifest and the model card, which name the fit file.
  func files(_ name: String) throws -> [String: Data] {
    try fileTree(bench.folder.appending(path: name)).filter {
      !["regate.json", "README.md"].contains($0.key)
    }
  }
  #expect(try files("by-fit") == files("out"))
}

@Test func `another form than the fit was judged by claims none of its figures`() throws {
  let bench = try Bench()
  let fit = bench.path("my.fit")
  #expect(
    try Tool.run("fit", bench.source, "--calibration", bench.capture, "--output", fit, "-q").code
      == 0)
  func report(_ form: String) throws -> (json: [String: Any], text: String) {
    let json = try bench.convert(
      "--fit", fit, "--router", form, "--output", bench.path(form), "--json", "-q")
    #expect(json.code == 0, "\(json.error)")
    let text = try bench.convert(
      "--fit", fit, "--router", form, "--output", bench.path(form + "-2"))
    return (try json.json(), text.output)
  }
  let (own, ownText) = try report("lpr")
  #expect(own["judged_form"] as? String == "lpr")
  #expect(keys(own["held_out"]).contains("gini"))
  #expect(ownText.contains("Figures are on"))
  let (other, otherText) = try report("stock")
  #expect(other["judged_form"] as? String == "lpr")
  for key in ["held_out", "sets"] { #expect(other[key] is NSNull, "\(key)") }
  #expect(other["held_out_gini"] is Double)
  #expect(other["held_out_gini"] as? Double != own["held_out_gini"] as? Double)
  for layer in objects(other["layers"]) { #expect(layer["output_error"] is NSNull) }
  #expect(!otherText.contains("Figures are on"))
  #expect(otherText.contains("The fit was judged by the routers of the form lpr"))
}

@Test func `convert says what it writes and what came of it`() throws {
  let bench = try Bench()
  let outcome = try bench.convert("--calibration", bench.capture, "--output", bench.path("out"))
  #expect(outcome.code == 0)
  #expect(outcome.errorLines.first?.hasPrefix("Writing the prototype router") == true)
  #expect(outcome.output.contains("tensors byte-identical"))
  let quiet = try bench.convert(
    "--calibration", bench.capture, "--output", bench.path("quiet"), "--json", "-q")
  #expect(quiet.code == 0)
  #expect(quiet.error.isEmpty)
  let report = try quiet.json()
  #expect(keys(report).isSuperset(of: ["plan", "layers", "strength", "held_out_gini", "written"]))
  let written = try #require(report["written"] as? [String: Any])
  for name in try #require(written["files"] as? [String]) { #expect(bench.exists("quiet/" + name)) }
  #expect((written["identical_tensors"] as? Int ?? 0) > 0)
  let first = try fileTree(bench.folder.appending(path: "out"))
  let second = try fileTree(bench.folder.appending(path: "quiet"))
  #expect(first == second)
}

@Test func `validate prints the documented keys and decides by thresholds`() throws {
  let bench = try Bench()
  let patched = bench.path("out")
  try #require(
    try bench.convert("--calibration", bench.capture, "--output", patched, "-q").code == 0)
  func validate(_ thresholds: String...) throws -> Tool.Outcome {
    try Tool.run(
      ["validate", bench.source, patched, "--calibration", bench.capture, "--json", "-q"]
        + thresholds)
  }
  let outcome = try validate()
  #expect(outcome.code == 0)
  #expect(outcome.error.isEmpty)
  let report = try outcome.json()
  #expect(
    keys(report).isSuperset(of: [
      "layers", "mean", "nll", "perplexity", "kl", "top1_agreement", "tokens", "sampling_floor",
      "passed",
    ]))
  #expect(report["passed"] as? Bool == true)
  #expect(report["kl"] is NSNull && report["top1_agreement"] is NSNull)
  #expect(keys(report["nll"]) == ["original", "patched"])
  for layer in objects(report["layers"]) {
    #expect(
      keys(layer).isSuperset(of: ["index", "original", "patched", "overlap", "output_error"]))
    for side in ["original", "patched"] {
      #expect(keys(layer[side]).isSuperset(of: balanceKeys.union(["load"])))
    }
  }
  let mean = try #require(report["mean"] as? [String: Any])
  let before = try #require((mean["original"] as? [String: Any])?["gini"] as? Double)
  let after = try #require((mean["patched"] as? [String: Any])?["gini"] as? Double)
  let ratio = try #require((mean["patched"] as? [String: Any])?["min_max"] as? Double)
  let error = try #require(mean["output_error"] as? Double)
  let ginis = objects(report["layers"]).compactMap {
    ($0["patched"] as? [String: Any])?["gini"] as? Double
  }
  let worst = try #require(ginis.max())
  #expect(after < before)
  for (option, met, missed) in [
    ("--max-gini", after + 0.001, after - 0.001), ("--max-layer-gini", worst, worst - 0.001),
    ("--min-ratio", ratio - 0.001, ratio + 0.001),
    ("--max-output-error", error + 0.001, error - 0.001),
  ] {
    let met = try validate(option, "\(met)")
    #expect(met.code == 0, "\(option)")
    let missed = try validate(option, "\(missed)")
    #expect(missed.code == 1, "\(option)")
    let verdict = try missed.json()
    #expect(verdict["passed"] as? Bool == false)
    #expect((verdict["failures"] as? [String])?.count == 1)
  }
  let text = try Tool.run(
    "validate", bench.source, patched, "--calibration", bench.capture, "--max-gini", "0")
  #expect(text.code == 1)
  #expect(text.output.contains("NOT MET: mean Gini is"))
}

@Test func `captures tell no perplexity`() throws {
  let bench = try Bench()
  for option in [["--max-perplexity-increase", "0.1"], ["--ppl-protocol", "llama"]] {
    let outcome = try Tool.run(
      ["validate", bench.source, bench.source, "--calibration", bench.capture] + option)
    requireRefusal(
      outcome, naming: bench.capture, says: "\(option[0]): captures tell no perplexity", option[0])
  }
}

@Test func `a target out of reach ends with code 1 and writes nothing`() throws {
  let bench = try Bench()
  let before = try fileTree(bench.folder)
  let outcome = try bench.convert(
    "--calibration", bench.capture, "--output", bench.path("out"), "--target-gini", "0",
    "--no-clones",
    "-q")
  requireRefusal(outcome, naming: nil, says: "the nearest is a held-out Gini of", "target")
  #expect(try fileTree(bench.folder) == before)
}

@Test func `a sweep prints the documented keys and writes its page alone`() throws {
  let bench = try Bench()
  let before = try fileTree(bench.folder)
  let outcome = try Tool.run(
    "sweep", bench.source, "--calibration", bench.capture, "--strengths", "0.5,1", "--html",
    bench.path("sweep.html"), "--json", "-q")
  #expect(outcome.code == 0)
  #expect(outcome.error.isEmpty)
  let report = try outcome.json()
  #expect(keys(report).isSuperset(of: ["points", "knee"]))
  let points = objects(report["points"])
  #expect(points.compactMap { $0["strength"] as? Double } == [0, 0.5, 1])
  for point in points {
    #expect(
      keys(point).isSuperset(of: ["strength", "gini", "min_max", "nll_increase", "output_error"]))
  }
  var after = try fileTree(bench.folder)
  #expect(after.removeValue(forKey: "sweep.html") != nil)
  #expect(after == before)
  let text = try Tool.run("sweep", bench.source, "--calibration", bench.capture, "--no-clones")
  #expect(text.code == 0)
  // The memory is said before the work.
  #expect(text.errorLines.first?.contains("8 fits side by side") == true)
  #expect(text.output.contains("strength") && text.output.contains("output error"))
}

@Test func `a budget out of reach ends with code 1 and prints the nearest point`() throws {
  let bench = try Bench()
  let before = try fileTree(bench.folder)
  let outcome = try bench.convert(
    "--calibration", bench.capture, "--output", bench.path("out"), "--max-output-error", "0",
    "--no-clones", "-q")
  requireRefusal(
    outcome, naming: nil, says: "nearest is a held-out Gini of", "budget")
  #expect(outcome.error.contains("at strength 0.2"))
  #expect(try fileTree(bench.folder) == before)
}

@Test func `validate reports each file as a set`() throws {
  let bench = try Bench()
  let other = try bench.model.writeCapture(
    to: bench.folder, name: "other", tokens: 0..<100)
  let outcome = try Tool.run(
    "validate", bench.source, bench.source, "--calibration", bench.capture, "--calibration", other,
    "--json", "--quiet")
  #expect(outcome.code == 0)
  let report = try outcome.json()
  let sets = objects(report["sets"])
  #expect(sets.compactMap { $0["tokens"] as? Int } == [512, 100])
  #expect(report["tokens"] as? Int == 612)
  #expect(
    sets.compactMap { $0["name"] as? String } == ["capture.safetensors", "other.safetensors"])
  #expect(sets.allSatisfy { $0["overlap"] as? Double == 1 && $0["output_error"] as? Double == 0 })
}
