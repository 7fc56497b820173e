// SPDX-License-Identifier: Apache-2.0
//
// The pages of inspect and validate, and the files that they may replace.

import Foundation
import TestSupport
import Testing

extension Bench {
  fileprivate func page(_ name: String) throws -> PageDocument.Element {
    let data = try Data(contentsOf: folder.appending(path: name))
    return try #require(PageDocument.root(data))
  }

  fileprivate func inspect(_ arguments: String...) throws -> Tool.Outcome {
    try Tool.run(["inspect", source, "-q"] + arguments)
  }
}

/// The style class of each physical expert's load, told without the tool's code.
private func classes(of load: [Int]) -> [String] {
  let mean = Double(load.reduce(0, +)) / Double(load.count)
  let bounds = [0.125, 0.25, 0.5, 0.8, 1.25, 2, 4, 8]
  return load.map { count in
    count == 0 ? "zero" : "d\(bounds.count { $0 < Double(count) / mean })"
  }
}

@Test func `inspect writes a page with every physical expert's load`() throws {
  let bench = try Bench(.deepseek, .init(.scattered))
  let page = bench.path("a & <b>.html")
  let outcome = try bench.inspect(
    "--calibration", bench.capture, "--ep", "2,4", "--html", page, "--json")
  #expect(outcome.code == 0)
  let root = try bench.page("a & <b>.html")
  let layers = try #require(try outcome.json()["layers"] as? [[String: Any]])
  let loads = layers.compactMap { $0["load"] as? [Int] }
  try #require(loads.count == 2)
  let maps = root.heatMaps
  #expect(maps["Load, by number"] == loads.map(classes))
  #expect(maps["Load, sorted"] == loads.map { classes(of: $0.sorted(by: >)) })
  #expect(maps["Row norms relative to the layer's mean"]?.map(\.count) == [16, 16])
  #expect(maps["Cosine of each row with its nearest other row"]?.map(\.count) == [16, 16])
  let pairs = try #require(maps.first { $0.key.hasPrefix("Cosines of all pairs") }?.value)
  #expect(pairs.count == 16)
  for (row, cells) in pairs.enumerated() {
    let full = cells + [String](repeating: "", count: 16 - cells.count)
    #expect(full.indices.filter { full[$0].isEmpty } == [row])
    #expect(full.indices.allSatisfy { pairs[$0].count <= row || pairs[$0][row] == full[$0] })
  }
  #expect(root.all("figure", class: "small").count == 2)
  #expect(root.all("th").contains { $0.text == "max/mean EP4" })
  #expect(root.all("li").contains { $0.text == "4 ranks" })
}

@Test func `a page says what was warned of on the way`() throws {
  let folder = try TemporaryDirectory()
  let ids = try folder.writeIDs([[5, 6, 7, -1], [9, 10, 11, 12]], to: "ids.npy")
  let page = folder.path("page.html")
  let outcome = try Tool.run(
    "inspect", TinyModel.mixtral.path, "--calibration", ids, "--html", page, "-q")
  #expect(outcome.code == 0, "\(outcome.error)")
  let root = try #require(PageDocument.root(try Data(contentsOf: URL(filePath: page))))
  let warnings = root.all("ul", class: "warnings").flatMap { $0.all("li") }.map(\.text)
  #expect(warnings.count { $0.contains("1 of 8 ids are negative") } == 1)
}

@Test func `inspect without load still shows the gates`() throws {
  let bench = try Bench()
  #expect(try bench.inspect("--html", bench.path("page.html")).code == 0)
  let root = try bench.page("page.html")
  #expect(root.all("p").contains { $0.text.hasPrefix("Load is not known: give --calibration") })
  #expect(root.heatMaps.count == 3)
}

@Test func `validate writes a page with both loads and the verdict`() throws {
  let bench = try Bench()
  let patched = bench.path("out")
  try #require(
    try bench.convert("--calibration", bench.capture, "--output", patched, "-q").code == 0)
  let outcome = try Tool.run(
    "validate", bench.source, patched, "--calibration", bench.capture, "--max-gini", "0",
    "--min-ratio", "0", "--html", bench.path("page.html"), "--json", "-q")
  // A verdict is a result: the page stands, the exit code says the rest.
  #expect(outcome.code == 1)
  let root = try bench.page("page.html")
  let report = try outcome.json()
  let layers = try #require(report["layers"] as? [[String: Any]])
  for (side, title) in [("original", "Original"), ("patched", "Patched")] {
    let loads = layers.compactMap { ($0[side] as? [String: Any])?["load"] as? [Int] }
    #expect(root.heatMaps[title + ", by number"] == loads.map(classes))
    #expect(root.heatMaps[title + ", sorted"] == loads.map { classes(of: $0.sorted(by: >)) })
  }
  #expect(
    root.all("ul", class: "bad").flatMap { $0.all("li") }.map(\.text)
      == (report["failures"] as? [String])?.map { "NOT MET: " + $0 })
  #expect(root.all("ul", class: "good").flatMap { $0.all("li") }.count == 1)
  let small = root.all("figure", class: "small")
  #expect(small.count == layers.count)
  // Original, patched, and perfect balance to compare with.
  #expect(small.allSatisfy { $0.all("polyline").count == 3 })
  #expect(root.all("th").map(\.text).contains("floor"))
}

@Test func `a page replaces a page and nothing else`() throws {
  let bench = try Bench()
  try Data("<!DOCTYPE html><p>mine</p>".utf8).write(to: bench.folder.appending(path: "mine.html"))
  try FileManager.default.createDirectory(
    atPath: bench.path("folder.html"), withIntermediateDirectories: false)
  let before = try fileTree(bench.folder)
  for (path, words) in [
    (bench.path("mine.html"), "exists already"),
    (bench.path("folder.html"), "is a directory"),
    (bench.path("none/page.html"), "is no directory"),
    (bench.source + "/config.json", "let it end in .html"),
  ] {
    requireRefusal(
      try bench.inspect("--html", path), naming: nil, says: words, path)
  }
  for (name, words) in [
    ("folder.html", "is a directory"), ("mine.html", "is no page of Regate"),
    ("source/page.html", "lies inside the checkpoint's directory"),
  ] {
    requireRefusal(
      try bench.inspect("--html", bench.path(name), "--overwrite"), naming: bench.path(name),
      says: words, name)
  }
  // What fails leaves no page.
  requireRefusal(
    try Tool.run("inspect", bench.path("missing"), "--html", bench.path("page.html")), naming: nil,
    says: "no such file", "missing")
  #expect(try fileTree(bench.folder) == before)

  #expect(try bench.inspect("--html", bench.path("page.html")).code == 0)
  let first = try fileTree(bench.folder)
  #expect(try bench.page("page.html").all("h1").count == 1)
  #expect(try bench.inspect("--html", bench.path("page.html"), "--overwrite").code == 0)
  #expect(try fileTree(bench.folder) == first)
}

@Test func `advise writes a page with the sentence, charts and commands that can be run`() throws {
  let bench = try Bench()
  let lines = (0..<2).flatMap { layer in
    (0..<16).map { "\(layer),\($0),\($0 < 4 ? 900 : 100)\n" }
  }
  let counts = bench.folder.appending(path: "counts.csv")
  try Data(lines.joined().utf8).write(to: counts)
  let outcome = try Tool.run(
    "advise", bench.source, "--counts", bench.path("counts.csv"), "--ep", "4,2", "--html",
    bench.path("page.html"), "--json", "-q")
  #expect(outcome.code == 0)
  let report = try outcome.json()
  let advice = try #require(report["advice"] as? String)
  let groups = try #require(report["ranks"] as? [[String: Any]])
  #expect(groups.compactMap { $0["ranks"] as? Int } == [4, 2])
  #expect(groups.compactMap { $0["choice"] as? String } == ["renumbered", "renumbered"])
  let root = try bench.page("page.html")
  #expect(root.all("li").contains { $0.text == advice })
  #expect(root.all("figcaption").map(\.text).filter { $0 == "Balance against memory" }.count == 2)
  #expect(root.all("h2").contains { $0.text == "On 4 ranks" })
  // What is advised can be pasted, and does what was said.
  let options = groups.flatMap { $0["options"] as? [[String: Any]] ?? [] }
  let commands = options.compactMap { $0["command"] as? String }
  #expect(commands.count == 4)
  let scratch = try TemporaryDirectory()
  for (option, command) in zip(options.filter { !($0["command"] is NSNull) }, commands) {
    let words = command.split(separator: " ").map(String.init)
    #expect(words.first == "regate")
    let made = try Tool.run(
      Array(words.dropFirst()) + ["--json", "-q"], in: scratch.url)
    #expect(made.code == 0, "\(command): \(made.error)")
    let ranks = try #require(
      (made.code == 0 ? try made.json()["rank_max_over_mean"] : nil) as? [String: Any])
    let after = (ranks.values.first as? [String: Any])?["after"] as? Double
    #expect(after == option["rank_max_over_mean"] as? Double)
  }
}
