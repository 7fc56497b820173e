// SPDX-License-Identifier: Apache-2.0
//
// From text and ids to sequences, captures and figures, on the trained fixtures.

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import Inference
import OrderedCollections
import RegateKit
import Tensors
import TestSupport
import Testing
import TextTokens

/// What a capture file holds.
private struct Captured {
  let container: ArrayContainer
  let nll: Double

  /// The sequences, without padding.
  func sequences() throws -> [[Int]] {
    let array = try container.array("token_ids")
    let values = try array.integers()
    let length = array.shape[1]
    return stride(from: 0, to: values.count, by: length).map {
      values[$0..<$0 + length].filter { $0 >= 0 }
    }
  }

  func inputs(_ layer: Int) throws -> [Float] {
    let array = try container.array("layers.\(layer).router_input")
    return try array.floats(rows: 0..<array.rowCount)
  }
}

private func capture(
  _ checkpoint: String, _ calibration: [String], in scratch: TemporaryDirectory,
  name: String = "capture", options: TokenOptions = .init(), threads: Int = 2
) throws -> Captured {
  let path = scratch.path(name + ".safetensors")
  let run = try CaptureRun.run(
    CaptureRun.Request(
      checkpoint: checkpoint, calibration: calibration, output: path, tokens: options, type: .f32,
      threads: threads))
  return Captured(container: try ArrayContainer.open(path), nll: run.meanNLL)
}

@Suite struct TokenPathTests {
  // MARK: Sequences

  @Test func `documents are cut into sequences and never joined`() throws {
    let scratch = try TemporaryDirectory()
    let texts = ["A first document, of some length.", "Two", "def third(x):\n    return x\n"]
    let lines = try texts.map {
      String(decoding: try JSONSerialization.data(withJSONObject: ["text": $0]), as: UTF8.self)
    }
    let path = try scratch.write(
      Array((lines.joined(separator: "\n\n") + "\n").utf8), to: "t.jsonl")
    let tokenizer = try Tokenizer(directory: TinyModel.qwen3.path)
    let captured = try capture(
      TinyModel.qwen3.path, [path], in: scratch, options: .init(length: 7))
    let expected = texts.flatMap { text -> [[Int]] in
      let ids = tokenizer.encode(text, addSpecial: true)
      return stride(from: 0, to: ids.count, by: 7).map { Array(ids[$0..<min($0 + 7, ids.count)]) }
    }
    #expect(expected.count > texts.count)
    #expect(try captured.sequences() == expected.filter { $0.count > 1 })
  }

  @Test func `a document begins as the tokenizer's post-processor says`() throws {
    let scratch = try TemporaryDirectory()
    let model = scratch.url.appending(path: "model")
    try TinyModel.qwen3.write(
      to: model,
      tokenizer: {
        $0["post_processor"] = [
          "type": "TemplateProcessing", "pair": [] as [Any],
          "single": [
            ["SpecialToken": ["id": "<|endoftext|>", "type_id": 0] as [String: Any]],
            ["Sequence": ["id": "A", "type_id": 0] as [String: Any]],
          ],
          "special_tokens": [
            "<|endoftext|>": ["id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]]
          ],
        ]
      })
    let text = TinyModel.text("heldout")
    func first(_ path: String, _ name: String) throws -> [[Int]] {
      try capture(
        path, [text], in: scratch, name: name, options: .init(length: 32, maxTokens: 1 << 20)
      ).sequences()
    }
    let with = try first(model.path(percentEncoded: false), "with")
    let without = try first(TinyModel.qwen3.path, "without")
    #expect(with.first?.first == 0)
    #expect(with.dropFirst().allSatisfy { $0.first != 0 })
    #expect(Array(with.joined().dropFirst()) == Array(without.joined()))
  }

  @Test func `the token budget takes whole sequences, by the seed`() throws {
    let scratch = try TemporaryDirectory()
    let model = TinyModel.qwen3
    let array = try ArrayContainer.open(model.ids("calibration")).arrays.values[0].integers()
    let all = stride(from: 0, to: array.count, by: 64).map { Array(array[$0..<$0 + 64]) }
    func chosen(_ seed: UInt64, _ name: String) throws -> [[Int]] {
      try capture(
        model.path, [model.ids("calibration")], in: scratch, name: name,
        options: .init(maxTokens: 300, seed: seed)
      ).sequences()
    }
    let one = try chosen(1, "one")
    #expect(one.count == 4)
    // In the order of the file.
    let places = one.compactMap { all.firstIndex(of: $0) }
    #expect(places.count == 4 && places == places.sorted())
    #expect(try chosen(1, "again") == one)
    #expect(try chosen(2, "two") != one)
  }

  @Test func `negative ids are padding, and one token is no sequence`() throws {
    let scratch = try TemporaryDirectory()
    let path = try scratch.writeIDs(
      [[5, 6, 7, -1], [8, -1, -1, -1], [9, 10, 11, 12]], to: "i.npy")
    let captured = try capture(TinyModel.mixtral.path, [path], in: scratch)
    #expect(try captured.sequences() == [[5, 6, 7], [9, 10, 11, 12]])
    let said = Warnings()
    _ = try Inspection.run(
      .init(checkpoint: TinyModel.mixtral.path, load: .traffic([path], .init())), progress: said)
    #expect(said.all.contains { $0.contains("4 of 12 ids are negative") })
    #expect(said.all.contains { $0.contains("1 of 3 rows hold fewer than two tokens") })
  }

  @Test func `masked places are no tokens, wherever they are`() throws {
    let scratch = try TemporaryDirectory()
    func ids(_ values: [Int32]) -> [UInt8] {
      values.flatMap { littleEndian(UInt32(bitPattern: $0)) }
    }
    let rows: [Int32] = [5, 6, 7, 0, 0, 0, 8, 9, 10, 4000, 11, 12]
    let mask: [Int32] = [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1]
    let shape = npyDictionary("<i4", "(3, 4)")
    func path(_ name: String, _ mask: [Int32]) throws -> String {
      try scratch.write(
        zipBytes([
          ZipMember("input_ids.npy", npyBytes(shape, data: ids(rows))),
          ZipMember("attention_mask.npy", npyBytes(shape, data: ids(mask))),
        ]), to: name)
    }
    let captured = try capture(TinyModel.mixtral.path, [try path("m.npz", mask)], in: scratch)
    #expect(try captured.sequences() == [[5, 6, 7], [8, 9], [10, 11, 12]])
    let error = #expect(throws: RegateError.self) {
      try capture(
        TinyModel.mixtral.path, [try path("bad.npz", rows)], in: scratch, name: "bad")
    }
    #expect(error?.description.contains("attention_mask: holds other values than 0") == true)
  }

  // MARK: Captures

  @Test(arguments: TinyModel.all)
  func `a capture of text is the capture of its ids`(_ model: TinyModel) throws {
    let scratch = try TemporaryDirectory()
    let text = try capture(
      model.path, [TinyModel.text("heldout")], in: scratch, name: "text",
      options: .init(length: 100, maxTokens: 800))
    let sequences = try text.sequences()
    let longest = sequences.map(\.count).max() ?? 0
    let ids = try scratch.writeIDs(
      sequences.map { $0 + [Int](repeating: -1, count: longest - $0.count) }, to: "ids.npy")
    let other = try capture(model.path, [ids], in: scratch, name: "ids")
    for array in text.container.arrays.values where array.name != "token_ids" {
      #expect(
        try array.floats(rows: 0..<array.rowCount)
          == other.container.array(array.name).floats(rows: 0..<array.rowCount), "\(array.name)")
    }
    #expect(text.nll == other.nll)
  }

  @Test(arguments: TinyModel.all)
  func `a capture holds what transformers' routers read`(_ model: TinyModel) throws {
    let scratch = try TemporaryDirectory()
    let captured = try capture(
      model.path, [model.ids("heldout")], in: scratch, options: .init(precision: .f32))
    let reference = try ArrayContainer.open(model.data("heldout.capture.safetensors"))
    for array in reference.arrays.values where array.name.hasSuffix("router_input") {
      let expected = try array.floats(rows: 0..<array.rowCount)
      let found = try captured.container.array(array.name).floats(rows: 0..<array.rowCount)
      try #require(found.count == expected.count)
      // F16 rounds by up to 2^-11 of a value.
      let worst = zip(found, expected).map { abs($0 - $1) / max(1, abs($1)) }.max() ?? 1
      #expect(worst <= 2e-3, "\(array.name): \(worst)")
    }
  }

  /// Sets of `reference.json`: mean NLL and load by transformers in float32.
  @Test(arguments: TinyModel.all, ["calibration", "heldout"])
  func `NLL and load are transformers'`(_ model: TinyModel, _ set: String) throws {
    let reference = try JSONValue(contentsOf: model.data("reference.json"))
    let golden = try #require(reference["sets"]?[set])
    let scratch = try TemporaryDirectory()
    let options = TokenOptions(precision: .f32)
    let nll = try capture(model.path, [model.ids(set)], in: scratch, options: options).nll
    #expect(abs(nll - (golden["mean_nll"]?.doubleValue ?? .nan)) <= 2e-4)
    let inspection = try Inspection.run(
      Inspection.Request(
        checkpoint: model.path, load: .traffic([model.ids(set)], options), threads: 2))
    for layer in inspection.layers {
      let load = try #require(layer.load)
      let expected = try #require(
        golden["layers"]?[String(layer.index)]?["load"]?.arrayValue
      ).compactMap(\.intValue)
      // Only at near ties may another expert be chosen.
      let moved = zip(load.load, expected).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
      #expect(moved <= 2, "layer \(layer.index): \(moved) moved")
    }
  }
}

// MARK: Validation and sequential fits

private func validate(
  _ original: String, _ patched: String, _ calibration: String, options: TokenOptions = .init()
) throws -> JSONValue {
  try Validation.run(
    Validation.Request(
      original: original, patched: patched, calibration: [calibration], tokens: options,
      threads: 2)
  ).json
}

private func number(_ value: JSONValue?, _ path: String...) throws -> Double {
  try #require(path.reduce(value) { $0?[$1] }?.doubleValue)
}

@Suite struct TokenPathFitTests {
  @Test(arguments: TinyModel.all)
  func `a model validated against itself loses nothing`(_ model: TinyModel) throws {
    let report = try validate(model.path, model.path, model.ids("heldout"))
    #expect(try number(report, "nll", "original") == number(report, "nll", "patched"))
    #expect(try number(report, "kl") == 0)
    #expect(try number(report, "top1_agreement") == 1)
    #expect(try number(report, "mean", "output_error") == 0)
    #expect(try number(report, "mean", "overlap") == 1)
    #expect(report["ppl_protocol"]?.stringValue == "all")
    #expect(try number(report, "scored_tokens") == number(report, "tokens") / 64 * 63)
  }

  /// llama-perplexity's own figure on the same text (`llama.json`, tools/fixtures/export_tiny.py).
  @Test(arguments: TinyModel.all)
  func `perplexity by llama's protocol is llama-perplexity's`(_ model: TinyModel) throws {
    let golden = try JSONValue(contentsOf: model.data("llama.json"))
    let expected = try #require(golden["perplexity"]?.objectValue?.values.first?.doubleValue)
    let length = Int(try number(golden, "context"))
    let options = TokenOptions(length: length, perplexity: .llama)
    let report = try validate(
      model.gguf, model.gguf, TinyModel.text("heldout"), options: options)
    let found = try number(report, "perplexity", "original")
    #expect(abs(found / expected - 1) <= 0.005, "\(found), llama-perplexity \(expected)")
    #expect(report["ppl_protocol"]?.stringValue == "llama")
    #expect(try number(report, "scored_tokens") == number(report, "tokens") / 64 * 31)
    let captured = try capture(
      model.gguf, [TinyModel.text("heldout")], in: try TemporaryDirectory(), options: options)
    #expect(abs(exp(captured.nll) / found - 1) <= 1e-6)
  }

  @Test(arguments: [(TinyModel.qwen3, RouterForm.lpr), (.deepseek, .stock)])
  func `a conversion's figures are those that validate finds on the same tokens`(
    _ model: TinyModel, _ form: RouterForm
  ) throws {
    let scratch = try TemporaryDirectory()
    var draft = ConversionDraft(
      model.path, calibration: [model.ids("calibration")], to: scratch.path("out"))
    draft.form = form
    // Rounding to bfloat16 would make more of the last bit of a sum.
    let options = TokenOptions(precision: .f32)
    draft.sets.tokens = options
    let result = try draft.run().json
    let report = try validate(
      model.path, scratch.path("out"), model.ids("calibration"), options: options)
    #expect(try number(report, "nll", "patched") != number(report, "nll", "original"))
    // The conversion's pass keeps held-out tokens out of the others' products, which round
    // otherwise.
    for side in ["original", "patched"] {
      #expect(
        try abs(number(result, "calibration_nll", side) - number(report, "nll", side)) <= 1e-7)
    }
    #expect(try abs(number(result, "calibration_kl") - number(report, "kl")) <= 1e-7)
    #expect(
      try number(result, "calibration_top1_agreement") == number(report, "top1_agreement"))
    // Output errors and losses of a fit are about the sequences that it did not see: every eighth.
    let ids = try ArrayContainer.open(model.ids("calibration")).arrays.values[0].integers()
    let heldOut = stride(from: 7 * 64, to: ids.count, by: 8 * 64).map { Array(ids[$0..<$0 + 64]) }
    let judged = try validate(
      model.path, scratch.path("out"), scratch.writeIDs(heldOut, to: "heldout.npy"),
      options: options)
    // Sums over other numbers of tokens round otherwise.
    let change = try number(judged, "nll", "patched") - number(judged, "nll", "original")
    let difference = try abs(number(result, "held_out", "nll_increase") - change)
    #expect(difference <= 1e-6, "\(difference)")
    let layers = try #require(result["layers"]?.arrayValue)
    for (layer, other) in zip(layers, try #require(judged["layers"]?.arrayValue)) {
      let difference = try abs(number(layer, "output_error") - number(other, "output_error"))
      #expect(difference <= 1e-6, "\(difference)")
    }
  }

  @Test(arguments: [TinyModel.qwen3, .deepseek])
  func `a sequential fit does not depend on the number of threads`(_ model: TinyModel) throws {
    let scratch = try TemporaryDirectory()
    var trees: [[String: Data]] = []
    for threads in 1...3 {
      let name = "out-\(threads)"
      var draft = ConversionDraft(
        model.path, calibration: [model.ids("calibration")], to: scratch.path(name))
      draft.threads = threads
      _ = try draft.run()
      trees.append(try fileTree(scratch.url.appending(path: name)))
    }
    #expect(trees[1] == trees[0])
    #expect(trees[2] == trees[0])
  }

  @Test func `layers are fitted to what patched layers give them`() throws {
    let scratch = try TemporaryDirectory()
    let model = TinyModel.qwen3
    // 16 sequences of 64: every eighth is held out, and so is every eighth run of their capture.
    let all = try ArrayContainer.open(model.ids("calibration")).arrays.values[0].integers()
    let ids = try scratch.writeIDs(
      stride(from: 0, to: 1024, by: 64).map { Array(all[$0..<$0 + 64]) }, to: "ids.npy")
    _ = try capture(model.path, [ids], in: scratch)
    func layers(_ calibration: String) throws -> [JSONValue] {
      let draft = ConversionDraft(
        model.path, calibration: [calibration], to: scratch.path(UUID().uuidString))
      return try #require(try draft.run().json["layers"]?.arrayValue)
    }
    let sequential = try layers(ids)
    let independent = try layers(scratch.path("capture.safetensors"))
    // The first layer reads the same either way; the second one does not.
    #expect(sequential[0]["original"] == independent[0]["original"])
    #expect(sequential[1]["original"] != independent[1]["original"])
  }

  @Test func `a fit of strength 0 that was saved changes nothing when it is applied`() throws {
    let scratch = try TemporaryDirectory()
    let model = TinyModel.qwen3
    let fit = scratch.path("fit.safetensors")
    var draft = ConversionDraft(
      model.path, calibration: [model.ids("calibration")], to: scratch.path("out"))
    draft.budget = .strength(0)
    _ = try draft.fit(to: fit)
    draft.fit = fit
    _ = try draft.run()
    let before = try fileTree(URL(filePath: model.path))
    let after = try fileTree(scratch.url.appending(path: "out"))
    #expect(after["model.safetensors"] == before["model.safetensors"])
    #expect(after["config.json"] == before["config.json"])
  }
}
