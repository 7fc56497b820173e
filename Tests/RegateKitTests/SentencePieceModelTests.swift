// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import RegateKit
import TestSupport
import Testing

/// A model with a SentencePiece vocabulary, put together from two fixtures as the opening of
/// tools/fixtures/spm_model.py says.
private struct SentencePieceModel {
  let bytes: [UInt8]
  private static let vocabularyKeys = 8
  private static let columns = 24
  private static let rows = 40

  init(tokens: Int) throws {
    func file(_ name: String) throws -> [UInt8] {
      try [UInt8](Data(contentsOf: fixtures.appending(path: name)))
    }
    let model = try file("variants/gguf-mixtral-llama3-tied/model.gguf")
    let vocabulary = try file("tokenizers/spm.gguf")
    let headerBytes = 24
    // The model's last key says that it has no vocabulary; of the other's only the first, which
    // names its architecture, is no part of one.
    let none = GGUFDraft.pair("tokenizer.ggml.model", 8, GGUFDraft.string("none"))
    let first = GGUFDraft.pair("general.architecture", 8, GGUFDraft.string("llama"))
    let last = GGUFDraft.pair("tokenizer.ggml.add_bos_token", 7, [1])
    let replaced = try #require(model.firstRange(of: none))
    let end = try #require(vocabulary.firstRange(of: last)).upperBound
    var keys = Array(model[headerBytes..<replaced.lowerBound])
    let size = { GGUFDraft.pair("llama.vocab_size", 4, GGUFDraft.number(UInt32($0))) }
    keys.replaceSubrange(try #require(keys.firstRange(of: size(Self.rows))), with: size(tokens))
    keys += vocabulary[headerBytes + first.count..<end]

    // Entries are a name, a count of dimensions, the dimensions, a type and an offset.
    let embedding = GGUFDraft.string("token_embd.weight")
    let norm = GGUFDraft.string("output_norm.weight")
    let start = replaced.upperBound
    let stop = try #require(model.firstRange(of: norm)).upperBound + 4 + 8 + 4 + 8
    var entries = Array(model[start..<stop])
    var data = Array(model[Self.aligned(stop)...])
    let place = try #require(entries.firstRange(of: embedding))
    let entry = place.lowerBound..<place.upperBound + 4 + 2 * 8 + 4 + 8
    let offset = entries[entry].suffix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let stored = Array(data[offset..<offset + 2 * Self.columns * Self.rows])
    data += [UInt8](repeating: 0, count: Self.aligned(data.count) - data.count)
    entries.replaceSubrange(
      entry,
      with: GGUFDraft.tensor(
        "token_embd.weight", [Int64(Self.columns), Int64(tokens)], type: 30,
        offset: UInt64(data.count)))
    for token in 0..<tokens {
      let row = stored[2 * Self.columns * (token % Self.rows)...].prefix(2 * Self.columns)
      let turn = 2 * (token / Self.rows)
      data += row.dropFirst(turn) + row.prefix(turn)
    }
    data += [UInt8](repeating: 0, count: Self.aligned(data.count) - data.count)

    let keyCount = UInt64(model[16]) - 1 + UInt64(Self.vocabularyKeys)
    let head = Array(model[..<16]) + GGUFDraft.number(keyCount) + keys + entries
    bytes = head + [UInt8](repeating: 0, count: Self.aligned(head.count) - head.count) + data
  }

  private static func aligned(_ count: Int) -> Int { (count + 31) / 32 * 32 }
}

@Test func `a model with a SentencePiece vocabulary has llama-perplexity's figure`() throws {
  let golden = try JSONValue(
    contentsOf: fixtures.appending(path: "tokenizers/spm-model.json").path)
  let scratch = try TemporaryDirectory()
  let path = try scratch.write(try SentencePieceModel(tokens: 729).bytes, to: "spm.gguf")
  let length = try #require(golden["context"]?.intValue)
  let run = try CaptureRun.run(
    CaptureRun.Request(
      checkpoint: path, calibration: [TinyModel.text("heldout")],
      output: scratch.path("capture.safetensors"),
      tokens: TokenOptions(length: length, perplexity: .llama), threads: 2), progress: Silent())
  #expect(run.sequences == golden["windows"]?.intValue)
  let expected = try #require(golden["perplexity"]?.doubleValue)
  // Measured: 1e-4, llama.cpp's attention being in half precision.
  #expect(abs(exp(run.meanNLL) / expected - 1) < 1e-3)
}
