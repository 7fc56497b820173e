// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Foundation
import TestSupport
import Testing
import TextTokens

@Suite struct TokenizerGoldenTests {
  static let kinds = [
    "gpt2", "llama3", "qwen2", "deepseek-v3", "deepseek-coder", "behaviors", "prepend",
    "metaspace-first", "metaspace-unknown",
  ]
  static let gguf = [("llama-bpe.gguf", "llama3"), ("spm.gguf", "prepend")]

  @Test(arguments: kinds)
  func `A tokenizer.json gives the ids of Python's tokenizers`(kind: String) throws {
    let tokenizer = try Tokenizer(directory: Goldens.path(kind))
    let wanted = try #require(try Goldens.lists("ids.json")[kind])
    let texts = try Goldens.texts()
    #expect(texts.count == wanted.count && texts.count > 30)
    var encoder = DocumentEncoder(tokenizer)
    for (text, ids) in zip(texts, wanted) {
      #expect(tokenizer.encode(text, addSpecial: false) == ids, "\(text.debugDescription)")
      // With what the cache kept of earlier texts.
      #expect(encoder.encode(Array(text.utf8), addSpecial: false) == ids)
    }
  }

  @Test(arguments: gguf)
  func `A GGUF vocabulary gives the same ids as its tokenizer.json`(
    file: String, kind: String
  ) throws {
    let tokenizer = try Tokenizer(GGUFCheckpoint(path: Goldens.path(file)))
    let json = try Tokenizer(directory: Goldens.path(kind))
    // Added tokens of other kinds than GGUF has are not in the file.
    let absent = ["[MASK]", "WORD", "<|start|>", "Ñand"]
    let texts = try Goldens.texts().filter { text in !absent.contains { text.contains($0) } }
    #expect(texts.count > 25)
    for text in texts {
      let wanted = json.encode(text, addSpecial: true)
      #expect(tokenizer.encode(text, addSpecial: true) == wanted, "\(text.debugDescription)")
    }
  }

  @Test(arguments: ["gpt2", "llama3", "deepseek-v3", "deepseek-coder"])
  func `Byte-level tokens give the text back`(kind: String) throws {
    let tokenizer = try Tokenizer(directory: Goldens.path(kind))
    // Added tokens may take spaces with them.
    for text in try Goldens.texts() where !text.contains("[MASK]") && !text.contains("Ñand") {
      #expect(tokenizer.decode(tokenizer.encode(text, addSpecial: false)) == text)
    }
  }

  @Test func `The template puts its tokens around a document`() throws {
    let tokenizer = try Tokenizer(directory: Goldens.path("llama3"))
    let start = try #require(tokenizer.id(of: "<s>"))
    #expect(tokenizer.prefix == [start] && tokenizer.suffix.isEmpty)
    let plain = tokenizer.encode("some text", addSpecial: false)
    #expect(tokenizer.encode("some text", addSpecial: true) == [start] + plain)
    #expect(tokenizer.encode("", addSpecial: true) == [start])
  }

  @Test func `Control tokens are plain text where they are not asked for`() throws {
    let tokenizer = try Tokenizer(directory: Goldens.path("llama3"))
    let start = try #require(tokenizer.id(of: "<s>"))
    #expect(tokenizer.encode("<s>", addSpecial: false) == [start])
    let plain = tokenizer.encode("<s>", addSpecial: false, special: false)
    #expect(plain.count > 1 && tokenizer.decode(plain) == "<s>")
  }

  @Test func `tokenizer_config.json names what begins and ends a document`() throws {
    let directory = try TemporaryDirectory()
    let json = try Data(contentsOf: URL(filePath: Goldens.path("gpt2/tokenizer.json")))
    try directory.write(Array(json), to: "tokenizer.json")
    let config = #"{"bos_token": "<s>", "eos_token": {"content": "<|endoftext|>"}}"#
    try directory.write(Array(config.utf8), to: "tokenizer_config.json")
    let tokenizer = try Tokenizer(directory: directory.path(""))
    #expect(tokenizer.beginningID == tokenizer.id(of: "<s>") && tokenizer.beginningID != nil)
    #expect(tokenizer.endID == tokenizer.id(of: "<|endoftext|>") && tokenizer.endID != nil)
    #expect(tokenizer.bytes(of: tokenizer.vocabularySize) == nil)
    #expect(tokenizer.bytes(of: -1) == nil)
  }

  @Test func `The same text gives the same ids whatever came before`() throws {
    let tokenizer = try Tokenizer(directory: Goldens.path("qwen2"))
    let texts = try Goldens.texts()
    var generator = SeededGenerator(seed: 11)
    var encoder = DocumentEncoder(tokenizer, expecting: 0)
    for _ in 0..<300 {
      let text = texts[Int(generator.next() % UInt64(texts.count))]
      #expect(
        encoder.encode(Array(text.utf8), addSpecial: false)
          == tokenizer.encode(text, addSpecial: false))
    }
  }
}
