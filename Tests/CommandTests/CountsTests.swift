// SPDX-License-Identifier: Apache-2.0
//
// Counts of an importance matrix, which are of one model with its experts in one order.

import Foundation
import TestSupport
import Testing

@Suite struct CountsTests {
  private let bench: Bench
  private let directory: TemporaryDirectory

  init() throws {
    bench = try Bench(gguf: .init(.f16), .qwen3)
    directory = try TemporaryDirectory()
  }

  private func counts(
    _ name: String = "load", layers: [Int]? = nil, hidden: Int? = nil, width: Int? = nil
  ) throws -> String {
    let model = bench.model
    return try directory.write(
      importanceMatrix(
        layers: layers ?? model.layers.map(\.index),
        counts: (0..<model.experts).map { Float(($0 + 1) * model.topK) },
        hidden: hidden ?? model.hidden, width: width ?? model.width), to: name + ".gguf")
  }

  private func inspect(_ checkpoint: String, _ counts: String) throws -> Tool.Outcome {
    try Tool.run("inspect", checkpoint, "--counts", counts)
  }

  @Test func `counts of another model are refused by what differs first`() throws {
    let model = bench.model
    let good = try inspect(bench.source, try counts())
    #expect(good.code == 0 && good.error.isEmpty, "\(good.error)")
    let layers = model.layers.map(\.index)
    for (path, fragment) in [
      (
        try counts("hidden", hidden: model.hidden / 2),
        "blk.\(layers[0]): is of a model with \(model.hidden / 2) inputs of each expert, but the "
          + "checkpoint has \(model.hidden)"
      ),
      (
        try counts("width", width: model.width * 2),
        "blk.\(layers[0]): is of a model with \(model.width * 2) inputs of each expert's down "
          + "projection, but the checkpoint has \(model.width)"
      ),
      (
        try counts("layers", layers: layers + [90]),
        "blk.90: counts the experts of a layer that has none in the checkpoint"
      ),
    ] {
      requireRefusal(try inspect(bench.source, path), naming: path, says: fragment, fragment)
    }
  }

  @Test func `counts for a renumbered checkpoint are used with a warning`() throws {
    let load = try counts()
    let placed = bench.path("placed.gguf")
    #expect(
      try Tool.run("place", bench.source, "--counts", load, "--ep", "2", "-o", placed, "-q").code
        == 0)
    let outcome = try inspect(placed, load)
    #expect(outcome.code == 0)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.error.contains("warning: \(placed) has renumbered experts, and \(load)"))
  }
}
