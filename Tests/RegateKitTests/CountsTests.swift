// SPDX-License-Identifier: Apache-2.0
//
// Load from files of counts that other programs write.

import Foundation
import RegateKit
import TestSupport
import Testing

/// Two layers of 32 experts, four per token.
private let model = TinyModel.qwen3
private let experts = 32
private let topK = 4

struct CountsTests {
  private let folder: TemporaryDirectory

  init() throws { folder = try TemporaryDirectory() }

  private func file(_ text: String, _ name: String) throws -> String {
    try folder.write(Array(text.utf8), to: name)
  }

  private func inspect(_ paths: [String]) throws -> Inspection {
    try Inspection.run(
      .init(checkpoint: model.path, load: .counts(paths), ranks: [4], threads: 1))
  }

  private func refusal(_ path: String) -> String {
    let error = #expect(throws: RegateError.self) { try inspect([path]) }
    return error?.description ?? ""
  }

  /// Expert e of layer l has 4 (e + l) assignments.
  private func count(_ layer: Int, _ expert: Int) -> Int { 4 * (expert + layer) }

  private func csv(
    header: String = "layer,expert,count\n",
    _ line: (Int, Int, Int) -> String = { "\($0),\($1),\($2)\n" }
  ) -> String {
    header
      + (0..<2).flatMap { layer in
        (0..<experts).map { line(layer, $0, count(layer, $0)) }
      }.joined()
  }

  @Test func `tables in every spelling say the same`() throws {
    let rows = (0..<2).flatMap { layer in
      (0..<experts).map { #"{"layer":\#(layer),"expert":\#($0),"count":\#(count(layer, $0))}"# }
    }
    var files = [
      try file(csv(), "a.csv"),
      try file(csv(header: ""), "bare.txt"),
      try file("\u{FEFF}" + csv(), "mark.csv"),
      try file(
        csv(header: "\"Count\";name;expert;LAYER\r\n") { "\($2); x ;\($1);\($0)\r\n" }, "b.csv"),
      try file("[" + rows.joined(separator: ",") + "]", "c.json"),
    ]
    files.append(try folder.write(try inspect([files[0]]).json.serialised(.pretty), to: "own.json"))
    for file in files {
      let found = try inspect([file])
      for (layer, entry) in found.layers.enumerated() {
        let load = try #require(entry.load)
        #expect(load.load == (0..<experts).map { count(layer, $0) }, "\(file)")
        #expect(load.batchImbalance.isEmpty)
      }
      #expect(found.tokens == (0..<experts).reduce(0) { $0 + count(1, $1) } / topK)
      #expect(found.text.contains("Totals only"))
    }
  }

  @Test func `the load of an inspection is for its own routers`() throws {
    let bench = try Workbench(.qwen3Scattered, tokens: 384)
    let found = try Inspection.run(
      .init(checkpoint: bench.source, load: .traffic([bench.capture], .init()), threads: 1))
    let counts = try folder.write(found.json.serialised(.pretty), to: "counts.json")
    let again = try Inspection.run(
      .init(checkpoint: bench.source, load: .counts([counts]), threads: 1))
    #expect(again.layers.map { $0.load?.load } == found.layers.map { $0.load?.load })

    // Neither a model that the load says nothing of, nor one whose experts lie otherwise.
    for form in [RouterForm.stock, .lpr] {
      try bench.convert(to: form.rawValue) { $0.form = form }
      let error = #expect(throws: RegateError.self) {
        try Inspection.run(
          .init(checkpoint: bench.output(form.rawValue), load: .counts([counts]), threads: 1))
      }
      #expect(error?.subject == "router_fingerprint" && error?.file == counts)
    }
  }

  @Test func `a table that does not fit the model is refused by its line`() throws {
    for (text, word) in [
      (csv() + "0,32,1\n", "line 66: counts expert 32 of layer 0, which has 32"),
      (csv() + "2,0,1\n", "line 66: counts layer 2, which has no experts"),
      (csv() + "1,3,5\n", "line 66: counts expert 3 of layer 1 once more"),
      (csv() + "1,many,5\n", "line 66: has no whole numbers"),
      (csv() + "1,2\n", "line 66: has no whole numbers"),
      ("layer,expert,count\n0,0,5\n", "layer 1: has no counts"),
      ("layer,expert,count\n0,0,-5\n", "line 2: holds -5, which is no count"),
      ("layer,expert,sum\n0,0,5\n", "holds no counts"), ("{}", "holds no counts"),
      (csv { "\($0),\($1),\($0 == 0 ? $2 : 0)\n" }, "layer 1: no token is counted there"),
      ("", "layer 0: has no counts"),
      (#"[{"layer":0}]"#, "element 0: has no whole numbers"),
      (#"{"layers":[{"index":0,"load":null}]}"#, "layers[0]: has no index and load"),
    ] { #expect(refusal(try file(text, "t.csv")).contains(word), "\(word)") }
  }

  /// [tokens, layers, K]: token t chooses t, t + 1, .. in layer 0, and t + 8, .. in layer 1.
  private func routed(_ change: (inout [Int32]) -> Void = { _ in }, shape: [Int]? = nil) throws
    -> String
  {
    var ids = (0..<32).flatMap { token in
      (0..<2).flatMap { layer in (0..<topK).map { Int32((token + 8 * layer + $0) % experts) } }
    }
    change(&ids)
    let sizes = (shape ?? [32, 2, topK]).map { "\($0)," }.joined()
    return try folder.write(
      npyBytes(npyDictionary("<i4", "(\(sizes))"), data: ids.flatMap { littleEndian($0) }),
      to: "routed.npy")
  }

  @Test func `experts of single tokens give batches too`() throws {
    let found = try inspect([try routed()])
    #expect(found.tokens == 32)
    for layer in found.layers {
      #expect(layer.load?.load == [Int](repeating: 4, count: experts))
      #expect(layer.load?.batchImbalance.isEmpty == false)
    }
    #expect(!found.text.contains("Totals only"))
    #expect(refusal(try routed { $0[9] = 32 }).contains("token 1 has expert 32 in layer 0"))
    #expect(
      refusal(try routed { $0[9] = $0[8] }).contains("token 1 has an expert twice in layer 0"))
    #expect(
      refusal(try routed { $0.replaceSubrange(8..<12, with: [-1, -1, -1, -1]) })
        .contains("token 1 has expert -1 in layer 0"))
    #expect(refusal(try routed { $0[9] = -1 }).contains("token 1 has expert -1"))
    #expect(refusal(try routed(shape: [64, 2, 2])).contains("2 experts per token"))
    #expect(refusal(try routed(shape: [16, 4, 4])).contains("has 4 layers"))
    #expect(refusal(try routed(shape: [64, 4])).contains("expected integers [tokens, layers"))
  }

  @Test func `several files add up and are compared`() throws {
    let even = try file(csv { layer, expert, _ in "\(layer),\(expert),10\n" }, "even.csv")
    let odd = try file(
      csv { layer, expert, _ in "\(layer),\(expert),\(expert == 3 ? 160 : 0)\n" }, "odd.csv")
    let found = try inspect([even, odd])
    #expect(found.layers[0].load?.load == (0..<experts).map { $0 == 3 ? 170 : 10 })
    let pair = try #require(found.comparisons.first)
    #expect(found.comparisons.count == 1 && pair.names == ["even.csv", "odd.csv"])
    // One expert in 32 in common; m is 33/64 there and 1/64 elsewhere.
    #expect(abs((pair.overlap ?? 0) - 1.0 / 32) < 1e-12)
    let divergence =
      (1.0 / 32 * log2(2.0 / 33) + 31.0 / 32 * log2(2.0)) / 2 + log2(64.0 / 33) / 2
    #expect(abs((pair.divergence ?? 0) - divergence) < 1e-12)
    #expect(pair.specialists.first?.expert == 3 && pair.specialists.first?.shares == [1.0 / 32, 1])
    #expect(try inspect([even]).comparisons.isEmpty)
  }
}
