// SPDX-License-Identifier: Apache-2.0
//
// Budgets, several sets and sweeps: what is held out decides, and what is out of reach is said.

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Reports
import TestSupport
import Testing

private let tiny = fixtures.appending(path: "tiny-qwen3-moe").path(percentEncoded: false)

private func ids(_ name: String) -> String {
  fixtures.appending(path: "tiny-qwen3-moe-data/\(name).npy").path(percentEncoded: false)
}

/// A conversion of the trained fixture on token ids.
private func tinyRequest(_ change: (inout ConvertRequest) -> Void = { _ in }) -> ConvertRequest {
  var request = ConvertRequest(
    checkpoint: tiny, calibration: [ids("calibration")],
    tokens: .init(length: 64, maxTokens: 4096), threads: 2)
  change(&request)
  return request
}

private func points(_ sweep: Sweep) throws -> [[String: Double]] {
  try #require(sweep.json["points"]?.arrayValue).map { point in
    Dictionary(
      uniqueKeysWithValues: try #require(point.objectValue).compactMap { key, value in
        value.doubleValue.map { (key, $0) }
      })
  }
}

@Suite struct SweepTests {
  @Test func `a sweep on tokens begins at no change and gains balance for loss`() throws {
    let sweep = try Sweep.run(
      .init(tinyRequest(), strengths: [0.25, 0.5, 0.75, 1]), progress: Silent())
    let points = try points(sweep)
    #expect(points.compactMap { $0["strength"] } == [0, 0.25, 0.5, 0.75, 1])
    #expect(points[0]["nll_increase"] == 0 && points[0]["output_error"] == 0)
    let ginis = points.compactMap { $0["gini"] }
    try #require(ginis.count == 5)
    #expect(ginis[4] < ginis[2] && ginis[2] < ginis[0])
    let errors = points.compactMap { $0["output_error"] }
    try #require(errors.count == 5)
    #expect(errors[1] > 0 && errors[4] > errors[1])
    #expect(points.allSatisfy { $0["nll_increase"] != nil && $0["min_max"] != nil })
    // The knee is the point farthest below the line from the first to the most balanced one.
    let losses = points.compactMap { $0["nll_increase"] }
    let end = try #require(ginis.indices.min { ginis[$0] < ginis[$1] })
    let depths = points.indices.map { place in
      (ginis[0] - ginis[place]) / (ginis[0] - ginis[end]) - losses[place] / losses[end]
    }
    let deepest = try #require(depths.indices.max { depths[$0] < depths[$1] })
    let knee = losses[end] > 0 && depths[deepest] > 0 ? points[deepest]["strength"] : nil
    #expect(sweep.json["knee"]?["strength"]?.doubleValue == knee)
    let held = try #require(sweep.json["held_out_tokens"]?.intValue)
    let all = try #require(sweep.json["tokens"]?.intValue)
    #expect(held * 16 > all && held * 4 < all)
  }

  @Test func `a sweep's page has the curve and both loads`() throws {
    let bench = try Workbench(Sample.safetensors[6], tokens: 512)
    let before = try fileTree(bench.directory.url)
    let sweep = try Sweep.run(.init(bench.request, strengths: [0.5, 1]), progress: Silent())
    #expect(try fileTree(bench.directory.url) == before)
    let root = try #require(PageDocument.root(Data(sweep.page.render().utf8)))
    #expect(root.heatMaps.count == 4)
    #expect(root.heatMaps["Original, by number"]?.map(\.count) == [16, 16])
    let curve = try #require(
      root.all("figure").first {
        $0.all("figcaption").contains { $0.text.hasPrefix("Gini by what it costs") }
      })
    #expect(curve.all("polyline").first?.attributes["points"]?.split(separator: " ").count == 3)
    let points = try points(sweep)
    #expect(points.allSatisfy { $0["nll_increase"] == nil })
    #expect(points.allSatisfy { $0["output_error"] != nil })
  }

  @Test func `strengths that make no curve are refused`() throws {
    for strengths in [[], [0, 1], [0.5, 0.25], [0.5, 0.5], [2], [Double.nan]] {
      #expect(throws: RegateError.self) {
        try Sweep.run(.init(tinyRequest(), strengths: strengths), progress: Silent())
      }
    }
  }
}

/// The result of a conversion that must be out of reach.
private func unreached(_ request: ConvertRequest) throws -> RegateError {
  let error = try #require(throws: RegateError.self) {
    try Conversion(request, progress: Silent()).run()
  }
  #expect(error.code == .unreached)
  return error
}

@Suite struct BudgetTests {
  @Test func `a loss budget takes the most balance within it`() throws {
    let sweep = try Sweep.run(.init(tinyRequest()), progress: Silent())
    let points = try points(sweep).dropFirst()
    let losses = points.compactMap { $0["nll_increase"] }.sorted()
    try #require(losses.count == 8)
    let budget = (losses[3] + losses[4]) / 2
    let result = try Conversion(
      tinyRequest { $0.balance = .maxLossIncrease(budget) }, progress: Silent()
    ).run()
    let best = try #require(
      points.filter { ($0["nll_increase"] ?? .infinity) <= budget }
        .min { ($0["gini"] ?? 1) < ($1["gini"] ?? 1) })
    let held = try #require(result.json["held_out"]?.objectValue)
    #expect(held["strength"]?.doubleValue == best["strength"])
    #expect(held["gini"]?.doubleValue == best["gini"])
    #expect(try #require(held["nll_increase"]?.doubleValue) <= budget)
    #expect(result.text.contains("Held-out tokens decide"))
    let error = try unreached(tinyRequest { $0.balance = .maxLossIncrease(losses[0] - 0.1) })
    #expect(error.subject == "--max-loss-increase")
    #expect(error.problem.contains("the nearest is a held-out Gini of"))
  }

  @Test func `an output error budget keeps within it and writes what was measured`() throws {
    let bench = try Workbench(Sample.safetensors[6])
    let sweep = try Sweep.run(.init(bench.request), progress: Silent())
    let errors = try points(sweep).dropFirst().compactMap { $0["output_error"] }.sorted()
    let budget = (errors[2] + errors[3]) / 2
    let result = try bench.convert(to: "out") { $0.balance = .maxOutputError(budget) }
    #expect(try #require(result.json["held_out"]?["output_error"]?.doubleValue) <= budget)
    let strength = try #require(result.json["strength"]?.doubleValue)
    #expect(try bench.manifest("out")["options"]?["max_output_error"]?.doubleValue == budget)
    #expect(try bench.manifest("out")["figures"]?["strength"]?.doubleValue == strength)
    let before = try fileTree(bench.directory.url)
    let error = try unreached(
      {
        var request = bench.request
        request.output = bench.output("none")
        request.saveFit = bench.directory.path("none.fit")
        request.balance = .maxOutputError(errors[0] / 2)
        return request
      }())
    #expect(error.subject == "--max-output-error")
    #expect(try fileTree(bench.directory.url) == before)
  }

  @Test func `a budget that the calibration cannot judge is refused`() throws {
    let bench = try Workbench(Sample.safetensors[6], tokens: 512)
    for (request, subject) in [
      (tinyRequest { $0.balance = .maxOutputError(1) }, "--max-output-error"),
      (
        {
          var request = bench.request
          request.balance = .maxLossIncrease(1)
          return request
        }(), "--max-loss-increase"
      ),
    ] {
      let error = try #require(throws: RegateError.self) {
        try Conversion(request, progress: Silent()).run()
      }
      #expect(error.code == .refused && error.subject == subject)
    }
  }
}

@Suite struct SeveralSetsTests {
  /// Two captures of one model: the first tokens, and the last.
  private func sets(_ bench: Workbench) throws -> [String] {
    let half = bench.model.tokens / 2
    return [
      try bench.model.writeCapture(
        to: bench.directory.url, name: "first", tokens: 0..<half),
      try bench.model.writeCapture(
        to: bench.directory.url, name: "second", tokens: half..<bench.model.tokens),
    ]
  }

  private func reports(_ result: Conversion.Result) throws -> [[String: JSONValue]] {
    try #require(result.json["sets"]?.arrayValue).map { set in
      Dictionary(uniqueKeysWithValues: try #require(set.objectValue).map { ($0, $1) })
    }
  }

  @Test func `every set is reported, in its share`() throws {
    let bench = try Workbench(Sample.safetensors[6])
    let paths = try sets(bench)
    let result = try bench.convert(to: nil) {
      $0.calibration = paths
      $0.weights = [3, 1]
    }
    let sets = try reports(result)
    #expect(
      sets.compactMap { $0["name"]?.stringValue } == ["first.safetensors", "second.safetensors"])
    #expect(sets.compactMap { $0["share"]?.doubleValue } == [0.75, 0.25])
    let tokens = sets.compactMap { $0["tokens"]?.intValue }
    try #require(tokens.count == 2)
    #expect(abs(Double(tokens[0]) / Double(tokens[1]) - 3) < 0.4)
    for set in sets {
      let before = try #require(set["original"]?["gini"]?.doubleValue)
      #expect(try #require(set["patched"]?["gini"]?.doubleValue) < before)
      #expect(try #require(set["output_error"]?.doubleValue) > 0)
    }
  }

  @Test func `equal weights see what no weights see`() throws {
    let bench = try Workbench(Sample.safetensors[6])
    let paths = try sets(bench)
    let plain = try bench.convert(to: nil) { $0.calibration = paths }
    #expect(try reports(plain).isEmpty)
    let weighted = try bench.convert(to: nil) {
      $0.calibration = paths
      $0.weights = [1, 1]
    }
    #expect(try reports(weighted).count == 2)
  }

  @Test func `tokens that are protected keep the experts they use`() throws {
    // Traffic whose experts the calibration hardly uses: the tokens of its rarest cluster.
    let bench = try Workbench(Sample.safetensors[6])
    let layer = bench.model.layers[0]
    let routes = naiveRoute(bench.model, layer)
    let load = routes.load(bench.model.experts)
    let rare = try #require(load.indices.min { load[$0] < load[$1] })
    try bench.convert(to: "plain")
    let given = Set(0..<bench.model.experts).subtracting(try bench.claimedMaps("plain")[0])
    try #require(!given.isEmpty, "the sample is too even to test protection")
    // Every token of the protected set goes to experts that the plain plan gives up.
    let users = routes.choices.indices.filter { token in
      routes.choices[token].contains { given.contains($0.0) || $0.0 == rare }
    }
    try #require(!users.isEmpty)
    let paths = try users.prefix(1).map { token in
      try bench.model.writeCapture(
        to: bench.directory.url, name: "rare", tokens: token..<token + 1)
    }
    try bench.convert(to: "kept") { $0.protected = paths }
    let kept = Set(try bench.claimedMaps("kept")[0])
    for (expert, _) in routes.choices[users[0]] { #expect(kept.contains(expert)) }
    let result = try bench.convert(to: nil) { $0.protected = paths }
    let last = try #require(try reports(result).last)
    #expect(last["role"]?.stringValue == "protected" && last["share"] == .null)
  }

  @Test func `sets of tokens are cut into whole sequences`() throws {
    let result = try Conversion(
      tinyRequest {
        $0.calibration = [ids("calibration"), ids("heldout")]
        $0.weights = [1, 1]
        $0.protected = [ids("heldout")]
      }, progress: Silent()
    ).run(writing: false)
    let sets = try reports(result)
    #expect(sets.count == 3)
    for set in sets {
      #expect(try #require(set["tokens"]?.intValue) % 64 == 0)
      #expect(set["nll"]?["original"]?.doubleValue != nil)
      #expect(set["nll"]?["patched"]?.doubleValue != nil)
    }
    // A protected set is all held out, whatever part of it the calibration also sees.
    #expect(sets[2]["role"]?.stringValue == "protected")
  }

  @Test func `weights and sets that do not fit are refused`() throws {
    let bench = try Workbench(Sample.safetensors[6], tokens: 512)
    let paths = try sets(bench)
    let few = try bench.model.writeCapture(
      to: bench.directory.url, name: "few", tokens: 0..<100)
    for change: (inout ConvertRequest) -> Void in [
      { $0.weights = [1, 2] },
      {
        $0.calibration = paths
        $0.weights = [1, -1]
      },
      { $0.protected = [ids("heldout")] },
      {
        $0.calibration = [few]
        $0.balance = .targetGini(0.1)
      },
    ] {
      #expect(throws: RegateError.self) { try bench.convert(to: "out", change) }
      #expect(!FileManager.default.fileExists(atPath: bench.directory.path("out")))
    }
  }
}
