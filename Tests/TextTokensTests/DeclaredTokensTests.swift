// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import TestSupport
import Testing
import TextTokens

// What tools/fixtures/declared_tokens.py wrote: files beside a vocabulary, and transformers' ids.

@Suite struct DeclaredTokensTests {
  static func cases() throws -> [JSONValue] { try Goldens.json("declared.json").arrayValue ?? [] }

  /// Writes the files of a case, and its vocabulary as it says.
  private func write(_ item: JSONValue, to directory: TemporaryDirectory) throws {
    for (name, value) in item["files"]?.objectValue ?? [:] {
      try directory.write(value.serialised(.compact), to: name)
    }
    var tokenizer = try Goldens.json("gpt2/tokenizer.json")
    guard let laid = item["vocabulary"]?.objectValue else {
      guard item["vocabulary"] == "files" else { return }
      let vocabulary = try #require(tokenizer["model"]?["vocab"])
      let merges = (tokenizer["model"]?["merges"]?.arrayValue ?? []).map { merge in
        merge.stringValue
          ?? (merge.arrayValue ?? []).compactMap(\.stringValue).joined(separator: " ")
      }
      try directory.write(vocabulary.serialised(.compact), to: "vocab.json")
      let text = (["#version: 0.2"] + merges).joined(separator: "\n")
      try directory.write(Array((text + "\n").utf8), to: "merges.txt")
      return
    }
    for (key, value) in laid["vocab"]?.objectValue ?? [:] {
      tokenizer["model"]?["vocab"]?[key] = value
    }
    for (key, value) in laid["model"]?.objectValue ?? [:] { tokenizer["model"]?[key] = value }
    let own =
      (tokenizer["added_tokens"]?.arrayValue ?? []) + (laid["added_tokens"]?.arrayValue ?? [])
    tokenizer["added_tokens"] = .array(own)
    try directory.write(tokenizer.serialised(.compact), to: "tokenizer.json")
  }

  @Test func `Tokens of the files beside a vocabulary have the ids of transformers`() throws {
    let cases = try DeclaredTokensTests.cases()
    #expect(cases.count >= 38)
    for item in cases {
      let directory = try TemporaryDirectory()
      try write(item, to: directory)
      let tokenizer = try Tokenizer(directory: directory.path(""))
      let wanted = (item["ids"]?.arrayValue ?? []).compactMap(\.intValue)
      let text = item["text"]?.stringValue ?? ""
      // mistral-common begins documents; what transformers makes of its files does not.
      let special = item["vocabulary"] != "tekken"
      #expect(
        tokenizer.encode(text, addSpecial: special) == wanted, "\(item["name"]?.stringValue ?? "")")
    }
  }

  @Test func `A declared id that transformers does not give is said`() throws {
    let directory = try TemporaryDirectory()
    let item = try #require(
      try DeclaredTokensTests.cases().first { $0["name"] == "decoder by number" })
    try write(item, to: directory)
    let notes = try Tokenizer(directory: directory.path("")).notes
    #expect(notes.count == 1)
    #expect(
      notes[0].contains(
        "\"<|im_end|>\" is declared with the id 9999, but transformers gives it 612"))
    #expect(notes[0].contains("and 1 more"))
  }

  @Test func `A document of Mistral's vocabulary begins with its token`() throws {
    let directory = try TemporaryDirectory()
    let item = try #require(try DeclaredTokensTests.cases().first { $0["name"] == "tekken" })
    try write(item, to: directory)
    let tokenizer = try Tokenizer(directory: directory.path(""))
    #expect(tokenizer.prefix == [1] && tokenizer.beginningID == 1 && tokenizer.endID == 2)
    #expect(tokenizer.vocabularySize == 270)
  }

  @Test func `An unknown token that could be needed must be in the vocabulary`() throws {
    let directory = try TemporaryDirectory()
    var item = try #require(try DeclaredTokensTests.cases().last { $0["vocabulary"] == [:] })
    item["vocabulary"] = ["model": ["unk_token": "<?>"]]
    try write(item, to: directory)
    #expect(throws: Never.self) { try Tokenizer(directory: directory.path("")) }
    var tokenizer = try JSONValue(contentsOf: directory.path("tokenizer.json"))
    let merges = (tokenizer["model"]?["merges"]?.arrayValue ?? []).filter {
      !String(decoding: $0.serialised(.compact), as: UTF8.self).contains("z")
    }
    tokenizer["model"]?["vocab"]?["z"] = nil
    tokenizer["model"]?["merges"] = .array(merges)
    try directory.write(tokenizer.serialised(.compact), to: "tokenizer.json")
    #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
  }
}
