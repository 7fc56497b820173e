// SPDX-License-Identifier: Apache-2.0

import TestSupport
import Testing
import TextTokens

@Suite struct PreTokenizerTests {
  static let names = [
    "afmoe", "bailingmoe2", "bloom", "chameleon", "deepseek-coder", "deepseek-llm", "deepseek-v3",
    "default", "exaone-moe", "falcon", "gpt-2", "gpt-4o", "granite-embed-multi-97m", "jais-2",
    "kimi-k2", "laguna", "llama-bpe", "minicpm5", "qwen2", "qwen35", "seed-coder", "spark2_5",
    "starcoder", "superbpe", "tekken", "tiny_aya", "ufakzeka", "viking", "youtu",
  ]
  /// Others with the cuts of one above.
  static let alike = [
    "jina-v5-nano": "llama-bpe", "dbrx": "llama-bpe", "glm4": "llama-bpe", "hunyuan": "qwen2",
    "solar-open": "qwen2", "grok-2": "qwen2", "hy_v4": "deepseek-v3", "jina-v2-code": "gpt-2",
    "roberta-bpe": "gpt-2", "modern-bert": "gpt-2", "poro-chat": "bloom",
    "gpt3-finnish": "bloom", "cohere2moe": "tiny_aya", "talkie": "gpt-4o",
    "minimax-m2": "gpt-4o", "mellum2": "starcoder",
  ]

  private func tokenizer(_ name: String?) throws -> Tokenizer {
    var draft = VocabularyDraft(pre: name, tokens: VocabularyDraft.bytes(), merges: [])
    // Some pre-tokenizers put the beginning token first unless the file says otherwise.
    draft.flags["add_bos_token"] = false
    return try draft.tokenizer()
  }

  @Test(arguments: names)
  func `Text is cut as llama.cpp cuts it`(name: String) throws {
    let tokenizer = try tokenizer(name)
    let wanted = try #require(try Goldens.lists("pieces.json")[name])
    for (text, lengths) in zip(try Goldens.texts(), wanted) {
      let pieces = tokenizer.pieces(of: text)
      #expect(pieces.map(\.utf8.count) == lengths, "\(text.debugDescription): \(pieces)")
      #expect(pieces.joined() == text)
      #expect(tokenizer.encode(text, addSpecial: false) == text.utf8.map { Int($0) })
    }
  }

  @Test func `Names of one pre-tokenizer cut alike`() throws {
    let texts = try Goldens.texts()
    for (name, other) in PreTokenizerTests.alike {
      let (named, known) = (try tokenizer(name), try tokenizer(other))
      #expect(texts.allSatisfy { named.pieces(of: $0) == known.pieces(of: $0) }, "\(name)")
    }
  }

  @Test func `A file without a pre-tokenizer is cut by default`() throws {
    let texts = try Goldens.texts()
    let named = try tokenizer("default")
    let unnamed = try tokenizer(nil)
    #expect(texts.allSatisfy { named.pieces(of: $0) == unnamed.pieces(of: $0) })
  }

  @Test func `DeepSeek-LLM isolates lines, words, marks, ideographs and digits`() throws {
    let pieces = try tokenizer("deepseek-llm").pieces(of: "Ab Ǆ1234, ok \n 你好한국  ")
    #expect(
      pieces == ["Ab", " Ǆ", "1234", ",", " ok", " ", "\n", " ", "你好한국", "  "])
  }

  @Test(arguments: names)
  func `Long runs take time in proportion to their length`(name: String) throws {
    let tokenizer = try tokenizer(name)
    for character in [" ", "\n", "a", "A", "1", "中", "!", "\u{301}", "é"] {
      let text = String(repeating: character, count: 1 << 16)
      let long = ContinuousClock().measure { #expect(tokenizer.pieces(of: text).joined() == text) }
      // Quadratic time would take minutes.
      #expect(long < .seconds(5))
    }
  }
}
