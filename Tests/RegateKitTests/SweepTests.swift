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

/// A conversion of the trained fixture on token ids.
private func tinyDraft(_ change: (inout ConversionDraft) -> Void = { _ in }) -> ConversionDraft {
  var draft = ConversionDraft(
    TinyModel.deepseek.path, calibration: [TinyModel.deepseek.ids("calibration")])
  draft.sets.tokens = .init(length: 64, maxTokens: 2048)
  // Searches are about figures, whatever fit they are of.
  draft.settings.refinementSteps = 10
  change(&draft)
  return draft
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
    let sweep = try tinyDraft().sweep([0.25, 0.5, 0.75, 1])
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
    let bench = try Workbench(Sample.qwen3, tokens: 512)
    let before = try fileTree(bench.directory.url)
    let sweep = try bench.draft.sweep([0.5, 1])
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
      let error = #expect(throws: RegateError.self) { try tinyDraft().sweep(strengths) }
      #expect(error?.subject == "`strengths`")
    }
  }
}

/// What is said of a budget that must be out of reach; nothing is written.
private func unreached(_ draft: ConversionDraft) throws -> RegateError {
  let folder = try TemporaryDirectory()
  var draft = draft
  draft.output = .checkpoint(.copy(to: folder.path("out")))
  let error = try #require(throws: RegateError.self) { try draft.run() }
  #expect(error.code == .unreached)
  #expect(try fileTree(folder.url).isEmpty)
  return error
}

@Suite struct BudgetTests {
  @Test func `a loss budget takes the most balance within it`() throws {
    let scratch = try TemporaryDirectory()
    let points = try points(tinyDraft().sweep()).dropFirst()
    let losses = points.compactMap { $0["nll_increase"] }.sorted()
    try #require(losses.count == Sweep.strengths.count)
    let budget = (losses[3] + losses[4]) / 2
    let result = try tinyDraft {
      $0.budget = .maxLossIncrease(budget)
      $0.output = .checkpoint(.copy(to: scratch.path("out")))
    }.run()
    let best = try #require(
      points.filter { ($0["nll_increase"] ?? .infinity) <= budget }
        .min { ($0["gini"] ?? 1) < ($1["gini"] ?? 1) })
    let held = try #require(result.json["held_out"]?.objectValue)
    #expect(held["strength"]?.doubleValue == best["strength"])
    #expect(held["gini"]?.doubleValue == best["gini"])
    #expect(try #require(held["nll_increase"]?.doubleValue) <= budget)
    #expect(result.text.contains("held-out tokens of the calibration sets, which no plan"))
    let error = try unreached(tinyDraft { $0.budget = .maxLossIncrease(losses[0] - 0.1) })
    #expect(error.subject == "`maxLossIncrease`")
    #expect(error.problem.contains("the nearest is a held-out Gini of"))
  }

  /// One sweep tells what budgets on captures must come to.
  @Test(arguments: [Sample.qwen3, .deepseekBF16Bias])
  func `budgets on captures take what the sweep shows`(_ sample: Sample) throws {
    let bench = try Workbench(sample, tokens: 640)
    let before = try fileTree(bench.directory.url)
    func draft(_ budget: Budget = .strength(1)) -> ConversionDraft {
      var draft = bench.draft
      draft.settings.refinementSteps = 10
      draft.budget = budget
      return draft
    }
    let curve = try draft().sweep().fits.compactMap(\.point)
    try #require(curve.count == Sweep.strengths.count)

    // A target: the least strength that meets it.
    let ginis = curve.compactMap(\.gini)
    let (weak, strong) = (ginis[0], try #require(ginis.last))
    try #require(strong < weak)
    let target = (weak + strong) / 2
    try bench.convert(to: "out") { $0 = draft(.targetGini(target)).with($0.output) }
    let expected = try #require(curve.first { ($0.gini ?? 1) <= target })
    let manifest = try bench.manifest("out")
    #expect(expected.strength > curve[0].strength)
    #expect(manifest["options"]?["target_gini"]?.doubleValue == target)
    #expect(manifest["figures"]?["strength"]?.doubleValue == expected.strength)
    #expect(manifest["figures"]?["held_out_gini"]?.doubleValue == expected.gini)
    try FileManager.default.removeItem(at: bench.folder("out"))

    // An output error: the most balance that keeps within it.
    let errors = curve.compactMap(\.outputError).sorted()
    let limit = (errors[2] + errors[3]) / 2
    let result = try bench.convert(to: "out") { $0 = draft(.maxOutputError(limit)).with($0.output) }
    let point = try #require(result.fit.point)
    #expect(try #require(point.outputError) <= limit)
    let best = curve.filter { ($0.outputError ?? 9) <= limit }.min {
      ($0.gini ?? 1) < ($1.gini ?? 1)
    }
    #expect(point == best)
    #expect(try bench.manifest("out")["options"]?["max_output_error"]?.doubleValue == limit)
    #expect(try bench.manifest("out")["figures"]?["strength"]?.doubleValue == point.strength)
    try FileManager.default.removeItem(at: bench.folder("out"))

    // Out of reach.
    let unmet = try unreached(draft(.targetGini(0)))
    #expect(unmet.subject == "`targetGini`" && unmet.problem.contains("at strength"))
    let error = try unreached(draft(.maxOutputError(errors[0] / 2)))
    #expect(error.subject == "`maxOutputError`")
    #expect(try fileTree(bench.directory.url) == before)
  }

  @Test func `a target for a GGUF is about the stock router`() throws {
    let bench = try Workbench(.ggufMixtral, tokens: 256)
    var draft = bench.draft
    draft.budget = .targetGini(0)
    draft.output = .checkpoint(.copy(to: bench.output("out")))
    let error = #expect(throws: RegateError.self) { try draft.run() }
    let match = try #require(
      error?.problem.firstMatch(of: /held-out Gini of ([0-9.e-]+) at strength ([0-9.]+)/))
    let strength = try #require(Double(match.2))
    let point = try #require(draft.sweep([strength]).fits[0].point)
    #expect(try abs(#require(point.gini) - #require(Double(match.1))) < 1e-4)
  }

  @Test func `a budget that the calibration cannot judge is refused`() throws {
    let bench = try Workbench(.qwen3, tokens: 512)
    var captured = bench.draft
    captured.budget = .maxLossIncrease(1)
    captured.output = .checkpoint(.copy(to: bench.output("out")))
    let tokens = tinyDraft {
      $0.budget = .maxOutputError(1)
      $0.output = captured.output
    }
    for (draft, subject) in [(tokens, "`maxOutputError`"), (captured, "`maxLossIncrease`")] {
      let error = try #require(throws: RegateError.self) { try draft.run() }
      #expect(error.code == .refused && error.subject == subject)
    }
  }
}

extension ConversionDraft {
  /// The same to another output.
  fileprivate func with(_ output: Conversion.Output?) -> ConversionDraft {
    var draft = self
    draft.output = output
    return draft
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

  private func reports(_ result: Conversion) throws -> [[String: JSONValue]] {
    try #require(result.json["sets"]?.arrayValue).map { set in
      Dictionary(uniqueKeysWithValues: try #require(set.objectValue).map { ($0, $1) })
    }
  }

  @Test func `every set is reported, in its share`() throws {
    let bench = try Workbench(Sample.qwen3)
    let paths = try sets(bench)
    let result = try bench.convert(to: "out") {
      $0.sets.files = paths
      $0.sets.weights = [3, 1]
      $0.settings.refinementSteps = 10
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
    let bench = try Workbench(Sample.qwen3)
    let paths = try sets(bench)
    func convert(_ weights: [Double]) throws -> Conversion {
      try bench.convert(to: "out-\(weights.count)") {
        $0.sets.files = paths
        $0.sets.weights = weights
        $0.settings.refinementSteps = 0
      }
    }
    let (plain, weighted) = (try convert([]), try convert([1, 1]))
    // Without weights all files are one set; with equal ones the same tokens are held out.
    let one = try reports(plain)
    #expect(one.compactMap { $0["name"]?.stringValue } == ["first.safetensors, second.safetensors"])
    let two = try reports(weighted)
    #expect(two.count == 2)
    let tokens = [one, two].map { $0.reduce(0) { $0 + ($1["tokens"]?.intValue ?? 0) } }
    #expect(abs(tokens[0] - tokens[1]) <= 80)
  }

  @Test func `tokens that are protected keep the experts they use`() throws {
    // Traffic whose experts the calibration hardly uses: the tokens of its rarest cluster.
    let bench = try Workbench(Sample.qwen3)
    let layer = bench.model.layers[0]
    let routes = naiveRoute(bench.model, layer)
    let load = routes.load(bench.model.experts)
    let rare = try #require(load.indices.min { load[$0] < load[$1] })
    try bench.convert(to: "plain") { $0.settings.refinementSteps = 0 }
    let given = Set(0..<bench.model.experts).subtracting(try bench.claimedMaps("plain")[0])
    try #require(!given.isEmpty, "the sample is too even to test protection")
    // Every token of the protected set goes to experts that the plain plan prunes.
    let users = routes.choices.indices.filter { token in
      routes.choices[token].contains { given.contains($0.0) || $0.0 == rare }
    }
    try #require(!users.isEmpty)
    let paths = try users.prefix(1).map { token in
      try bench.model.writeCapture(
        to: bench.directory.url, name: "rare", tokens: token..<token + 1)
    }
    let result = try bench.convert(to: "kept") {
      $0.sets.protected = paths
      $0.settings.refinementSteps = 0
    }
    let kept = Set(try bench.claimedMaps("kept")[0])
    for (expert, _) in routes.choices[users[0]] { #expect(kept.contains(expert)) }
    let last = try #require(try reports(result).last)
    #expect(last["role"]?.stringValue == "protected" && last["share"] == .null)
  }

  @Test func `sets of tokens are cut into whole sequences`() throws {
    let scratch = try TemporaryDirectory()
    let ids = TinyModel.deepseek.ids
    let result = try tinyDraft {
      $0.sets.files = [ids("calibration"), ids("heldout")]
      $0.sets.weights = [1, 1]
      $0.sets.protected = [ids("heldout")]
      $0.output = .checkpoint(.copy(to: scratch.path("out")))
    }.run()
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
    let bench = try Workbench(Sample.qwen3, tokens: 512)
    let paths = try sets(bench)
    let few = try bench.model.writeCapture(
      to: bench.directory.url, name: "few", tokens: 0..<100)
    for change: (inout ConversionDraft) -> Void in [
      { $0.sets.weights = [1, 2] },
      {
        $0.sets.files = paths
        $0.sets.weights = [1, -1]
      },
      { $0.sets.protected = [TinyModel.qwen3.ids("heldout")] },
      {
        $0.sets.files = [few]
        $0.budget = .targetGini(0.1)
      },
    ] {
      #expect(throws: RegateError.self) { try bench.convert(to: "out", change) }
      #expect(!FileManager.default.fileExists(atPath: bench.directory.path("out")))
    }
  }
}
