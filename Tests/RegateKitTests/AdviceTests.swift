// SPDX-License-Identifier: Apache-2.0
//
// What advice says must be what its commands make.

import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Reports
import TestSupport
import Testing

/// Two layers of 32 experts, four per token.
private let model = TinyModel.qwen3
private let experts = 32

extension Advice {
  fileprivate func row(_ option: String, ranks: Int? = nil) throws -> Row {
    let group = try #require(groups.first { ranks == nil || $0.ranks == ranks })
    return try #require(group.rows.first { $0.option == option }, "\(option)")
  }
}

private func close(_ a: Double?, _ b: Double?, _ tolerance: Double) -> Bool {
  abs((a ?? .nan) - (b ?? .infinity)) <= tolerance
}

/// On traffic, where routers are fitted.
@Suite struct TrafficAdviceTests {
  @Test func `the figures of a row are those of what its command makes`() throws {
    let bench = try Workbench(.qwen3, tokens: 1280)
    let load = LoadRequest.traffic([bench.capture], .init())
    let before = try fileTree(bench.directory.url)
    let advice = try Advice.run(
      .init(checkpoint: bench.source, load: load, ranks: [4], batches: [32, 4096], threads: 2))
    #expect(try fileTree(bench.directory.url) == before)
    #expect(
      advice.groups[0].rows.map(\.option) == [
        "as_is", "renumbered", "redundant", "pruned", "ranks_lpr", "ranks_stock", "experts_lpr",
        "experts_stock",
      ])
    // A chart tells them apart.
    #expect(advice.groups[0].rows.count <= LineChart.colours)
    let place = { (output: PlacementRun.Output, redundant: Int) in
      try PlacementRun.run(
        .init(
          checkpoint: bench.source, load: load, ranks: [4], output: output,
          redundant: redundant, threads: 2))
    }
    let renumbered = try place(.checkpoint(.delta(to: bench.directory.path("a.delta"))), 0)
    #expect(
      close(try advice.row("as_is").imbalance, renumbered.map.imbalance[0].before, 1e-12))
    #expect(
      close(try advice.row("renumbered").imbalance, renumbered.map.imbalance[0].after, 1e-12))
    let map = bench.directory.path("map.json")
    let redundant = try place(.map(.sglang, to: map), 4)
    #expect(close(try advice.row("redundant").imbalance, redundant.map.imbalance[0].after, 1e-12))
    #expect(try advice.row("redundant").bytesToWrite == Data(contentsOf: URL(filePath: map)).count)
    let smaller = try bench.convert(to: "pruned") { $0.budget = .pruned(4) }
    let replaced = try PlacementRun.run(
      .init(
        checkpoint: bench.first("pruned"), load: load, ranks: [4],
        output: .map(.sglang, to: bench.directory.path("pruned.json")), redundant: 4, threads: 2))
    let pruned = try advice.row("pruned")
    #expect(close(pruned.imbalance, replaced.map.imbalance[0].after, 1e-12))
    #expect(close(pruned.outputError, smaller.fit.overall?.outputError, 1e-9))
    #expect(!pruned.isLossless && pruned.command?.contains(" && `PlacementRun` ") == true)
    for (form, option) in [(RouterForm.lpr, "ranks_lpr"), (.stock, "ranks_stock")] {
      var draft = bench.draft
      draft.form = form
      draft.budget = .evenRanks([4], slack: Budget.standardSlack)
      draft.output = .checkpoint(.delta(to: bench.directory.path("\(option).delta")))
      let fit = try draft.run().fit
      let row = try advice.row(option)
      #expect(close(row.imbalance, fit.rankImbalance(form)?[0].after, 1e-9))
      #expect(close(row.outputError, fit.overall?.outputError, 1e-9))
      #expect(row.lossIncrease == nil && !row.isLossless)
    }
    // 160 held-out tokens make five batches, and none of 4,096.
    let batches = try advice.row("as_is").batches
    #expect(batches.map(\.tokens) == [32] && batches[0].count == 5)
    #expect(advice.leftOut.contains { $0.hasPrefix("Batches of 4,096 tokens are left out") })
    #expect(advice.heldOutTokens == 160)
    // Clones are what takes room: experts of three matrices of 64 x 32 in BF16.
    let bytes = 3 * 64 * 32 * 2
    #expect(try advice.row("as_is").expertBytes == 2 * 4 * bytes)
    #expect(try advice.row("redundant").expertBytes == 2 * 5 * bytes)
    #expect(pruned.expertBytes == 2 * 4 * bytes)
    #expect(try advice.row("as_is").bytesToWrite == 0)
    #expect(try advice.row("renumbered").bytesToWrite == 2 * 16 * 64 * 2)
    #expect(try advice.row("experts_stock").bytesToWrite % bytes == 2 * 16 * 64 * 2)
  }

  @Test func `loss is told where the model is run, and for each number of ranks`() throws {
    let advice = try Advice.run(
      .init(
        checkpoint: TinyModel.mixtral.path,
        load: .traffic(
          [TinyModel.mixtral.ids("calibration")], .init(length: 64, maxTokens: 1024)),
        ranks: [2, 4], batches: [16, 64], threads: 2))
    #expect(advice.groups.map(\.ranks) == [2, 4])
    for group in advice.groups {
      for row in group.rows {
        #expect(row.isLossless ? row.lossIncrease == 0 : row.lossIncrease != nil)
        #expect(row.batches.map(\.tokens) == [16, 64] && row.seconds.count == 2)
        // Less memory than now is no option, more only that of redundant experts.
        #expect((row.expertBytes > group.rows[0].expertBytes) == (row.option == "redundant"))
      }
      #expect(group.times(group.rows[0]) == [1, 1])
    }
    // Even experts are the same fit on any number of ranks: that which a command makes.
    let losses = try [2, 4].map { try advice.row("experts_lpr", ranks: $0).lossIncrease }
    var draft = ConversionDraft(
      TinyModel.mixtral.path, calibration: [TinyModel.mixtral.ids("calibration")])
    draft.sets.tokens = .init(length: 64, maxTokens: 1024)
    draft.form = .lpr
    let loss = try #require(try draft.fit().fit.overall?.likelihood?.increase)
    // A pass of other streams rounds otherwise.
    #expect(losses[0] == losses[1] && close(losses[0], loss, 1e-7), "\(losses) and \(loss)")
    let json = try #require(advice.json["ranks"]?.arrayValue)
    #expect(json.count == 2 && advice.json["advice"]?.stringValue == advice.sentence)
    #expect(advice.text.contains("Advice: On 2 ranks, "))
  }

  @Test func `what cannot be converted is only placed`() throws {
    let gguf = try Workbench(.ggufMixtral, tokens: 512)
    let advice = try Advice.run(
      .init(
        checkpoint: gguf.source, load: .traffic([gguf.capture], .init()), ranks: [2],
        batches: [16], threads: 2))
    #expect(!advice.groups[0].rows.contains { $0.option.hasSuffix("lpr") })
    #expect(advice.leftOut.contains { $0.contains("no GGUF runtime can load") })
    // 8 experts and 2 more divide among 5 ranks; 2 pruned and 2 more do not.
    let uneven = try Advice.run(
      .init(
        checkpoint: gguf.source, load: .traffic([gguf.capture], .init()), ranks: [5],
        batches: [16], redundant: 2, threads: 2))
    #expect(
      uneven.groups[0].rows.map(\.option) == [
        "as_is", "renumbered", "redundant", "ranks_stock", "experts_stock",
      ])
    #expect(uneven.leftOut.contains { $0.hasPrefix("Pruned experts are left out on 5 ranks") })
    let patched = try Workbench.converted(.qwen3)
    let own = try Advice.run(
      .init(
        checkpoint: patched.first("out"), load: .traffic([patched.capture], .init()), ranks: [2],
        batches: [16], threads: 2))
    #expect(own.groups[0].rows.map(\.option) == ["as_is", "renumbered", "redundant"])
    #expect(own.groups[0].rows[0].imbalance ?? 9 < 1.2)
  }
}

/// On counts, where nothing is run.
@Suite struct CountsAdviceTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private func advise(
    _ checkpoint: String = model.path, experts: Int = experts, layers: Int = 2, ranks: [Int] = [8],
    redundant: Int? = nil, _ count: (Int) -> Int
  ) throws -> Advice {
    let lines = (0..<layers).flatMap { layer in
      (0..<experts).map { "\(layer),\($0),\(count($0))\n" }
    }
    let file = try folder.write(
      Array(("layer,expert,count\n" + lines.joined()).utf8), to: "counts.csv")
    return try Advice.run(
      .init(
        checkpoint: checkpoint, load: .counts([file]), ranks: ranks, redundant: redundant,
        threads: 1))
  }

  private func variant(_ name: String) -> String {
    fixtures.appending(path: "variants/" + name).path(percentEncoded: false)
  }

  /// SGLang's Mixtral takes no map, vLLM's balances by itself.
  @Test func `redundant experts that no map brings have no command for one`() throws {
    let row = try advise(TinyModel.mixtral.path, experts: 4, layers: 1, ranks: [2]) {
      $0 == 3 ? 900 : 100
    }.row("redundant")
    #expect(row.runtimes == [.vllm] && row.command == nil && row.bytesToWrite == 0)
  }

  @Test func `redundant experts are left out where no runtime holds them`() throws {
    let advice = try advise(variant("olmoe"), experts: 4, ranks: [2]) { $0 == 3 ? 900 : 100 }
    #expect(advice.groups[0].rows.map(\.option) == ["as_is", "renumbered"])
    #expect(advice.leftOut.contains { $0.hasPrefix("Redundant experts are left out: neither") })
  }

  @Test func `what no runtime was seen to load is not advised beside what one was`() throws {
    let advice = try advise(variant("minimax"), experts: 4, layers: 1, ranks: [2]) {
      $0 == 3 ? 900 : 100
    }
    let row = try advice.row("redundant")
    #expect(row.runtimes.isEmpty && row.imbalance ?? 9 < 1.2)
    #expect(!advice.choices[0].row.runtimes.isEmpty)
    #expect(!advice.sentence.contains("redundant"))
  }

  @Test func `a map that SGLang's class does not take is warned of`() throws {
    for (checkpoint, isWarned) in [(TinyModel.mixtral.path, true), (model.path, false)] {
      let more = isWarned ? "" : "1,0,3\n1,2,5\n"
      let file = try folder.write(
        Array(("layer,expert,count\n0,0,800.0\n0,1,1e2\n" + more).utf8),
        to: "counts-\(isWarned).csv")
      let warnings = Warnings()
      _ = try PlacementRun.run(
        .init(
          checkpoint: checkpoint, load: .counts([file]), ranks: [2],
          output: .map(.sglang, to: folder.path("\(isWarned).json")), threads: 1),
        progress: warnings)
      let isSaid = warnings.all.contains { $0.contains("takes no map of where experts lie") }
      #expect(isSaid == isWarned)
    }
  }

  @Test func `an even load needs nothing, and says so`() throws {
    let advice = try advise { _ in 400 }
    #expect(advice.sentence.hasPrefix("On 8 ranks, nothing is worth doing"))
    #expect(advice.choices[0].row.option == "as_is")
    #expect(advice.groups[0].rows.map(\.option) == ["as_is", "renumbered", "redundant"])
    // Totals say nothing of batches.
    #expect(advice.groups[0].rows.allSatisfy { $0.batches.isEmpty && $0.seconds.isEmpty })
    #expect(advice.leftOut.contains { $0.contains("tells totals only") })
    #expect(advice.leftOut.contains { $0.hasPrefix("New routers are left out") })
    #expect(advice.heldOutTokens == nil)
    #expect(advice.text.contains("on the tokens that were planned for"))
  }

  @Test func `neighbours that are busy together are renumbered`() throws {
    // The first rank has all the busy experts; eight ranks can have one each.
    let advice = try advise { $0 < 4 || $0 % 8 == 5 ? 800 : 100 }
    #expect(advice.choices[0].row.option == "renumbered")
    #expect(advice.choices[0].withoutMemory == nil)
    #expect(advice.sentence.contains("renumber the experts: the busiest rank carries 1.000 times"))
    #expect(advice.sentence.hasSuffix("at no loss."))
  }

  @Test func `one expert that is busier than a rank needs copies`() throws {
    let advice = try advise { $0 == 9 ? 3200 : 100 }
    let choice = advice.choices[0]
    #expect(choice.row.option == "redundant" && choice.row.title == "8 redundant experts")
    // Nine copies on eight ranks: one of them has two.
    #expect(choice.row.imbalance ?? 9 < 1.3)
    #expect(try advice.row("renumbered").imbalance ?? 0 > 3.5)
    #expect(advice.sentence.contains("more on each rank"))
    let command = try #require(choice.row.command)
    #expect(command.hasSuffix("`ranks` 8 `redundant` 8 `map` sglang:tiny-qwen3-moe-ep8.json"))
  }

  @Test func `ranks that do not divide the experts hold one more each, the first of them`() throws {
    // Experts 0 to 6 are on the first of five ranks, as `inspect` has it.
    let advice = try advise(ranks: [5]) { $0 < 7 ? 500 : 100 }
    let mean = Double(7 * 500 + 25 * 100) / 5
    #expect(close(try advice.row("as_is").imbalance, 3500 / mean, 1e-9))
    #expect(try advice.row("renumbered").imbalance ?? 9 < 1.4)
    #expect(!advice.groups[0].rows.contains { $0.option == "redundant" })
    // SGLang asserts that they divide.
    #expect(try advice.row("renumbered").runtimes == [.vllm, .transformers])
    #expect(
      try advise { $0 + 1 }.row("renumbered").runtimes == [.vllm, .sglang, .transformers])
  }

  @Test func `redundant experts that do not divide are left out`() throws {
    let advice = try advise(ranks: [8, 4], redundant: 4) { $0 + 1 }
    #expect(advice.groups[0].rows.map(\.option) == ["as_is", "renumbered"])
    #expect(advice.groups[1].rows.map(\.option) == ["as_is", "renumbered", "redundant"])
    #expect(advice.leftOut.contains { $0.hasPrefix("Redundant experts are left out on 8 ranks") })
  }

  @Test func `single tokens give batches, and some of them judge`() throws {
    // Token t chooses t, t + 1, .. of the first half of the experts.
    let ids = (0..<1024).flatMap { token in
      (0..<2).flatMap { _ in (0..<4).map { Int32((token + $0) % 16) } }
    }
    let file = try folder.write(
      npyBytes(npyDictionary("<i4", "(1024,2,4,)"), data: ids.flatMap { littleEndian($0) }),
      to: "routed.npy")
    let advice = try Advice.run(
      .init(
        checkpoint: model.path, load: .counts([file]), ranks: [2], batches: [64], threads: 1))
    #expect(advice.heldOutTokens == 128 && advice.tokens == 896)
    let now = try advice.row("as_is")
    // All tokens go to the first rank, which reads all of its experts.
    #expect(now.batches[0].count == 2 && now.batches[0].median == 2)
    #expect(now.batches[0].experts == 8 && now.batches[0].mostExperts == 16)
    #expect(try advice.row("renumbered").batches[0].median < 1.1)
    #expect(advice.groups[0].times(try advice.row("renumbered")) == [0.5])
    #expect(advice.choices[0].row.option == "renumbered")
    // The same split as that of a placement.
    let placed = try PlacementRun.run(
      .init(
        checkpoint: model.path, load: .counts([file]), ranks: [2],
        output: .map(.eplb, to: folder.path("map.json")), threads: 1))
    #expect(placed.heldOutTokens == 128 && placed.tokens == 896)
  }

  @Test func `a shell reads the commands as they are meant`() throws {
    let name = "it's a file.csv"
    let lines = (0..<2).flatMap { layer in (0..<experts).map { "\(layer),\($0),9\n" } }
    let file = try folder.write(Array(lines.joined().utf8), to: name)
    let advice = try Advice.run(
      .init(checkpoint: model.path, load: .counts([file]), ranks: [8], threads: 1))
    let command = try #require(try advice.row("renumbered").command)
    #expect(command.contains(#"it'\''s a file.csv'"#))
    #expect(command.hasPrefix("`PlacementRun` "))
    #expect(command.hasSuffix("`ranks` 8 `output` tiny-qwen3-moe-ep8"))
  }

  @Test func `numbers that make no advice are refused`() throws {
    for (ranks, words) in [
      ([], "are not given"), ([64], "64 ranks cannot"),
      ([8, 8], "expected different numbers"),
    ] as [([Int], String)] {
      let error = #expect(throws: RegateError.self) { try advise(ranks: ranks) { $0 + 1 } }
      #expect(error?.subject == "`ranks`" && error?.description.contains(words) == true)
    }
    func refused(_ change: (inout Advice.Request) -> Void) -> RegateError? {
      var request = Advice.Request(
        checkpoint: model.path, load: .counts(["none"]), ranks: [8], threads: 1)
      change(&request)
      return #expect(throws: RegateError.self) { try Advice.run(request) }
    }
    #expect(refused { $0.batches = [0] }?.subject == "`batches`")
    #expect(refused { $0.batches = [8, 8] }?.subject == "`batches`")
    #expect(refused { $0.redundant = 0 }?.subject == "`redundant`")
    #expect(refused { $0.roofline.flops = .nan }?.subject == "`flops`")
    #expect(refused { $0.roofline.bandwidth = 0 }?.subject == "`bandwidth`")
    // Something must judge what is advised.
    let bench = try Workbench(.qwen3, tokens: 128)
    let error = refused {
      $0.checkpoint = bench.source
      $0.load = .traffic([bench.capture], .init())
    }
    #expect(error?.description.contains("too few to hold some out") == true)
  }
}
