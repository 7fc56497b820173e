// SPDX-License-Identifier: Apache-2.0
//
// Strengths below 0: fewer distinct experts instead of even ones.

import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import TestSupport
import Testing

@Test(arguments: [(Sample.qwen3, RouterForm.lpr), (.deepseek, .lpr), (.ggufMixtral, .stock)])
func `a conversion below strength 0 says how many experts a batch uses`(
  _ sample: Sample, _ form: RouterForm
) throws {
  let bench = try Workbench(sample, tokens: 2048)
  let result = try bench.convert(to: "out") {
    $0.form = form
    $0.budget = .strength(-0.6)
  }
  let distinct = try #require(result.json["distinct_experts"])
  #expect(distinct["batch"]?.intValue == 32)
  let (before, after) = (distinct["before"]?.doubleValue ?? 0, distinct["after"]?.doubleValue ?? 99)
  #expect(after < before - 0.2 && after >= Double(bench.model.topK), "\(before) to \(after)")
  #expect(result.text.contains("Fewer distinct experts were asked for"))
  let options = try bench.manifest("out")["options"]
  #expect(options?["strength"]?.doubleValue == -0.6 && options?["clones"] == false)
  for map in try bench.claimedMaps("out") { #expect(map == Array(map.indices)) }
  let validation = try bench.validate("out")
  for layer in validation.layers {
    let original = try #require(layer.original.metrics.gini)
    #expect(try #require(layer.patched.metrics.gini) > original)
  }
  guard !bench.isGGUF else { return }
  let card = try String(
    contentsOf: bench.folder("out").appending(path: "README.md"), encoding: .utf8)
  #expect(card.contains("## Concentrated routing") && !card.contains("hot experts are copied"))
}
