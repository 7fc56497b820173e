// SPDX-License-Identifier: Apache-2.0
//
// What `validate` says of batches on expert-parallel ranks.

import Checkpoints
import OrderedCollections
import RegateKit
import TestSupport
import Testing

@Test func `validate tells ranks batch by batch`() throws {
  let bench = try Workbench.converted(.qwen3)
  let validation = try Validation.run(
    .init(
      original: bench.source, patched: bench.first("out"), calibration: [bench.capture],
      ranks: [2, 4], batches: [1280, 32, 4096], threads: 2))
  let means = validation.rankBatches
  #expect(means.map(\.ranks) == [2, 4])
  for (place, figures) in means.enumerated() {
    #expect(figures.original.map(\.tokens) == [1280, 32] && figures.patched.count == 2)
    let sides = [
      (\Validation.Layer.original, figures.original),
      (\Validation.Layer.patched, figures.patched),
    ]
    for (side, batches) in sides {
      // A batch of all tokens is what the whole is.
      let whole = validation.layers.compactMap { $0[keyPath: side].rankImbalance[place].value }
      let mean = whole.reduce(0, +) / Double(whole.count)
      #expect(batches[0].count == 1 && abs(batches[0].median - mean) < 1e-12)
      #expect(batches[0].p99 == batches[0].median)
      // Small batches are less even.
      #expect(batches[1].count == 40 && batches[1].p99 > mean)
      #expect(batches[1].experts <= batches[0].experts)
    }
  }
  #expect(validation.text.contains("Left out, for want of tokens: batches of 4,096."))
  let json = try #require(validation.json["mean"]?["rank_batches"]?.arrayValue)
  #expect(json.count == 2)
  #expect(json[0]["patched"]?.arrayValue?[1]["tokens"]?.intValue == 32)
  #expect(try bench.validate("out").rankBatches.isEmpty)
}
