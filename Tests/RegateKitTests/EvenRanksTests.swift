// SPDX-License-Identifier: Apache-2.0
//
// Even ranks instead of even experts.

import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

@Test(arguments: [(Sample.qwen3, RouterForm.lpr), (.deepseek, .lpr), (.ggufMixtralSplit, .stock)])
func `a conversion for even ranks says what it did and keeps its word`(
  _ sample: Sample, _ form: RouterForm
) throws {
  let bench = try Workbench(sample, tokens: 1024)
  let result = try bench.convert(to: "out") {
    $0.form = form
    $0.budget = .evenRanks([2], slack: 0.1)
  }
  let ranks = try #require(result.json["rank_max_over_mean"]?["2"])
  let (before, after) = (ranks["before"]?.doubleValue ?? 0, ranks["after"]?.doubleValue ?? 9)
  #expect(after < before && after < 1.2, "\(before) to \(after)")
  #expect(try bench.manifest("out")["options"]?["rank_slack"]?.doubleValue == 0.1)
  #expect(try bench.manifest("out")["options"]?["ranks"]?.arrayValue?.first?.intValue == 2)
  #expect(result.text.contains("Even ranks were asked for") && result.text.contains("as is "))
  // The written output does what the fit says of it, on all tokens.
  let inspected = try Inspection.run(
    .init(
      checkpoint: bench.first("out"), load: .traffic([bench.capture], .init()), ranks: [2],
      threads: 2))
  let measured = inspected.layers.compactMap { $0.load?.rankImbalance.first?.value }
  #expect(abs(measured.reduce(0, +) / Double(measured.count) - after) < 0.1)
}

@Test func `rank counts above the number of experts are refused`() throws {
  let bench = try Workbench(.qwen3, tokens: 256)
  let error = #expect(throws: RegateError.self) {
    try bench.convert(to: "out") { $0.budget = .evenRanks([64], slack: 0.05) }
  }
  #expect(error?.description.contains("`ranks`: are [64]") == true)
}

@Test func `a budget is read back from what it encodes as`() throws {
  for budget in [Budget.evenRanks([4, 8], slack: 0.05), .targetGini(0.1), .pruned(4)] {
    let data = try JSONEncoder().encode(budget)
    #expect(try JSONDecoder().decode(Budget.self, from: data) == budget)
  }
  for text in [#"{"rank_slack":0.1}"#, #"{"strength":1,"ranks":[2]}"#, "{}"] {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(Budget.self, from: Data(text.utf8))
    }
  }
}
