// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import Inference
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

  /// Throws where the fixtures are not what they were.
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
    func size(_ count: Int) -> [UInt8] {
      GGUFDraft.pair("llama.vocab_size", 4, GGUFDraft.number(UInt32(count)))
    }
    keys.replaceSubrange(try #require(keys.firstRange(of: size(Self.rows))), with: size(tokens))
    keys += vocabulary[headerBytes + first.count..<end]

    // Entries are a name, a count of dimensions, the dimensions, a type and an offset; tensors lie
    // in the order of their entries, without gaps.
    let rowBytes = 2 * Self.columns
    let (before, after) = (Self.rows * rowBytes, Self.aligned(tokens * rowBytes))
    var entries: [UInt8] = []
    var embedding = 0
    var place = replaced.upperBound
    for _ in 0..<Int(model[8]) {
      let nameEnd = place + 8 + Int(model[place])
      let end = nameEnd + 4 + 8 * Int(model[nameEnd]) + 4
      var offset = 0
      for byte in model[end..<end + 8].reversed() { offset = offset << 8 | Int(byte) }
      if String(decoding: model[place + 8..<nameEnd], as: UTF8.self) == "token_embd.weight" {
        embedding = offset
        entries += GGUFDraft.tensor(
          "token_embd.weight", [Int64(Self.columns), Int64(tokens)], type: 30,
          offset: UInt64(offset))
      } else {
        if embedding > 0 { offset += after - before }
        entries += model[place..<end]
        entries += GGUFDraft.number(UInt64(offset))
      }
      place = end + 8
    }
    let old = Array(model[Self.aligned(place)...])
    var data = Array(old[..<embedding])
    for token in 0..<tokens {
      let start = embedding + token % Self.rows * rowBytes
      let row = old[start..<start + rowBytes]
      let turn = token / Self.rows * 2
      data.append(contentsOf: row.dropFirst(turn))
      data.append(contentsOf: row.prefix(turn))
    }
    data += [UInt8](repeating: 0, count: Self.aligned(data.count) - data.count)
    data += old[(embedding + before)...]

    let keyCount = UInt64(model[16]) - 1 + UInt64(Self.vocabularyKeys)
    var bytes = Array(model[..<16])
    bytes += GGUFDraft.number(keyCount)
    bytes += keys
    bytes += entries
    bytes += [UInt8](repeating: 0, count: Self.aligned(bytes.count) - bytes.count)
    self.bytes = bytes + data
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
      tokens: TokenOptions(length: length, perplexity: .llama), threads: 2))
  #expect(run.sequences == golden["windows"]?.intValue)
  let expected = try #require(golden["perplexity"]?.doubleValue)
  // Measured: 1e-4, llama.cpp's attention being in half precision.
  #expect(abs(exp(run.meanNLL) / expected - 1) < 1e-3)
}
