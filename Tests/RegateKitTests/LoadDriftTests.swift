// SPDX-License-Identifier: Apache-2.0

import Foundation
import RegateKit
import TestSupport
import Testing

@Suite struct LoadDriftTests {
  private static let model = TinyModel.qwen3
  private let folder: TemporaryDirectory
  /// Another training: the same model whose largest tensor of a gate and of an expert differ.
  private let tuned: String

  init() throws {
    folder = try TemporaryDirectory()
    tuned = folder.path("tuned")
    try FileManager.default.copyItem(atPath: Self.model.path, toPath: tuned)
    let path = URL(filePath: tuned).appending(path: "model.safetensors")
    try negate(["mlp.gate.weight", "mlp.experts.0.down_proj.weight"], in: path)
  }

  /// Turns the sign of a quarter of the values of the tensors whose names end so.
  private func negate(_ suffixes: [String], in path: URL) throws {
    var bytes = try Data(contentsOf: path)
    let length = Int(bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    let header = try #require(
      JSONSerialization.jsonObject(with: bytes[8..<8 + length]) as? [String: Any])
    for (name, entry) in header where suffixes.contains(where: name.hasSuffix) {
      let entry = try #require(entry as? [String: Any])
      let range = try #require(entry["data_offsets"] as? [Int])
      let width = entry["dtype"] as? String == "F32" ? 4 : 2
      for last in stride(from: range[0] + width - 1, to: range[1], by: 4 * width) {
        bytes[8 + length + last] ^= 0x80
      }
    }
    try bytes.write(to: path)
  }

  private func drift(_ other: String, ranks: [Int] = []) throws -> LoadDrift {
    try LoadDrift.run(
      .init(
        original: Self.model.path, other: other, calibration: [Self.model.ids("heldout")],
        ranks: ranks, threads: 2))
  }

  private func load(_ checkpoint: String) throws -> [[Int]] {
    try Inspection.run(
      .init(
        checkpoint: checkpoint, load: .traffic([Self.model.ids("heldout")], .init()), threads: 2)
    ).layers.compactMap { $0.load?.load }
  }

  @Test func `each of two trainings is run with its own weights`() throws {
    let found = try drift(tuned, ranks: [2])
    let (before, after) = (try load(Self.model.path), try load(tuned))
    #expect(found.layers.map(\.original.load) == before)
    #expect(found.layers.map(\.other.load) == after && after != before)
    for (place, layer) in found.comparison.layers.enumerated() {
      let total = before[place].reduce(0, +)
      let moved = zip(before[place], after[place]).reduce(0) { $0 + abs($1.0 - $1.1) }
      #expect(abs(layer.totalVariation - Double(moved) / Double(2 * total)) < 1e-9)
      func busiest(_ load: [Int]) -> Set<Int> {
        let ranked = load.indices.sorted { (load[$1], $0) < (load[$0], $1) }
        return Set(ranked.prefix(max(1, load.count / 8)))
      }
      let kept = busiest(before[place]).intersection(busiest(after[place])).count
      #expect(layer.busiest == Double(kept) / Double(busiest(before[place]).count))
    }
    let likelihood = try #require(found.likelihood)
    let alone = try Validation.run(
      .init(
        original: tuned, patched: tuned, calibration: [Self.model.ids("heldout")], threads: 2))
    #expect(abs(likelihood.other - (try #require(alone.quality?.original.nll))) < 1e-9)
    #expect(likelihood.other != likelihood.original)
    #expect(found.text.contains("EP2") && found.text.contains("Most different"))
    #expect(found.json["mean"]?["total_variation"]?.doubleValue ?? 0 > 0)
    #expect(found.page.render().contains("moved load"))
  }

  @Test func `a model has not drifted from itself`() throws {
    let found = try drift(Self.model.path)
    #expect(found.comparison.overlap == 1 && found.comparison.busiest == 1)
    #expect(found.layers.allSatisfy { $0.agreement.overlap == 1 })
    #expect(found.likelihood?.original == found.likelihood?.other)
    #expect(found.comparison.specialists.isEmpty)
  }

  @Test func `another training is no patched output, and says what compares it`() throws {
    let error = #expect(throws: RegateError.self) {
      try Validation.run(
        .init(
          original: Self.model.path, patched: tuned, calibration: [Self.model.ids("heldout")]))
    }
    #expect(error?.description.contains("`LoadDrift`") == true)
  }

  @Test func `a patched output has no drift, for its experts lie elsewhere`() throws {
    var draft = ConversionDraft(
      Self.model.path, calibration: [Self.model.ids("calibration")], to: folder.path("out"))
    draft.form = .stock
    draft.sets.tokens = .init(length: 64, maxTokens: 512)
    _ = try draft.run()
    let error = #expect(throws: RegateError.self) { try drift(folder.path("out")) }
    #expect(error?.description.contains("clones") == true, "\(error?.description ?? "")")
  }
}
