// SPDX-License-Identifier: Apache-2.0

import ModelFitting
import RegateKit
import TestSupport
import Testing

@Suite("What a conversion takes, told before it") struct PlannedTimeTests {
  @Test func `seconds go up in a line through two trials`() {
    let cost = TokenCost((100, 2), (300, 3))
    #expect(abs(cost.seconds(100) - 2) < 1e-12 && abs(cost.seconds(300) - 3) < 1e-12)
    #expect(abs(cost.seconds(1100) - 7) < 1e-12)
    // More than in proportion: nothing is fixed.
    #expect(TokenCost((100, 1), (300, 4)).seconds(3000) == 40)
    // One number of tokens, or noise.
    #expect(TokenCost((100, 2), (100, 1)).seconds(100) == 1)
    #expect(TokenCost((100, 2), (200, 1)).seconds(400) == 2)
  }

  @Test func `a plan on text tells its time, and leaves nothing`() throws {
    let folder = try TemporaryDirectory()
    let model = TinyModel.qwen3
    var draft = ConversionDraft(
      model.path, calibration: [model.ids("heldout")], to: folder.path("out"))
    draft.settings.refinementSteps = 0
    let time = try #require(try draft.plan().work?.time)
    #expect(time.fitting > 0 && time.writing > 0)
    draft.output = .checkpoint(.delta(to: folder.path("my.delta")))
    #expect(try draft.plan().work?.time?.writing == 0)
    #expect(try fileTree(folder.url).isEmpty)
  }

  @Test func `a plan on a capture tells its time, one on a fit has none`() throws {
    let bench = try Workbench.converted(Sample.qwen3)
    var draft = bench.draft
    draft.settings.refinementSteps = 0
    #expect(try draft.plan().work?.time?.fitting ?? 0 > 0)
    draft.fit = bench.fit
    #expect(try draft.plan().work == nil)
  }

  @Test func `a plan refuses what the run refuses`() throws {
    let bench = try Workbench(Sample.qwen3, tokens: 300)
    var draft = bench.draft
    draft.output = .checkpoint(.copy(to: bench.output("out")))
    draft.budget = .maxLossIncrease(0.1)
    let judge = #expect(throws: RegateError.self) { try draft.plan() }
    #expect(judge?.problem.hasPrefix("captured activations do not tell the loss") == true)
  }
}
