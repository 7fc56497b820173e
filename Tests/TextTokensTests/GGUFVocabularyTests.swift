// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections
import TestSupport
import Testing
import TextTokens

@Suite struct GGUFVocabularyTests {
  /// The draft of a case of gguf_ids.json, which tools/fixtures/gguf_pieces.py wrote.
  private func draft(_ item: JSONValue) -> VocabularyDraft {
    func texts(_ key: String) -> [String] {
      (item[key]?.arrayValue ?? []).compactMap(\.stringValue)
    }
    var draft = VocabularyDraft(tokens: texts("tokens"), merges: texts("merges"))
    draft.types = (item["types"]?.arrayValue ?? []).compactMap { $0.intValue.map { Int32($0) } }
    for (key, value) in item["keys"]?.objectValue ?? [:] {
      if let text = value.stringValue { draft.pre = text }
      if let id = value.intValue { draft.ids[key] = UInt32(id) }
      if let flag = value.boolValue { draft.flags[key] = flag }
    }
    return draft
  }

  @Test(arguments: ["marked", "gaps", "odd", "tekken"])
  func `Small vocabularies give the ids of llama.cpp`(name: String) throws {
    let item = try #require(try Goldens.json("gguf_ids.json")[name])
    let tokenizer = try draft(item).tokenizer()
    let wanted = (item["ids"]?.arrayValue ?? []).map {
      ($0.arrayValue ?? []).compactMap(\.intValue)
    }
    for (text, ids) in zip((item["texts"]?.arrayValue ?? []).compactMap(\.stringValue), wanted) {
      #expect(tokenizer.encode(text, addSpecial: true) == ids, "\(text.debugDescription)")
    }
  }

  @Test func `Lists may be longer than the vocabulary, and scores may be left out`() throws {
    var draft = VocabularyDraft(model: "llama", tokens: ["<unk>", "<s>", "</s>", "a", "▁", "▁a"])
    draft.types = [2, 3, 3, 1, 1, 1, 1]
    #expect(try draft.tokenizer().encode("a", addSpecial: true) == [1, 5])
    draft.scores = [0, 0, 0, 0, 0, -1, 7]
    #expect(try draft.tokenizer().encode("a", addSpecial: true) == [1, 5])
  }

  @Test func `Phi-3's control tokens take the white space after them`() throws {
    var draft = VocabularyDraft(
      pre: "gpt-2", tokens: VocabularyDraft.bytes(["<|user|>", "<|endoftext|>"]), merges: [])
    draft.types = [Int32](repeating: 1, count: 256) + [3, 3]
    let text = "<|user|>\n a<|endoftext|> b"
    #expect(try draft.tokenizer().encode(text, addSpecial: false).prefix(3) == [256, 10, 32])
    draft.name = "Phi 3.5 MoE / phi-3"
    #expect(try draft.tokenizer().encode(text, addSpecial: false) == [256, 97, 257, 32, 98])
  }

  @Test func `The harmony tokens are found in plain text`() throws {
    let names = ["<|start|>", "<|end|>", "<|return|>", "<|call|>"]
    var draft = VocabularyDraft(pre: "gpt-4o", tokens: VocabularyDraft.bytes(names), merges: [])
    draft.types = [Int32](repeating: 1, count: 256) + [3, 3, 3, 3]
    let ids = try draft.tokenizer().encode(
      "<|start|>a<|end|><|call|>", addSpecial: false, special: false)
    #expect(ids.prefix(3) == [256, 97, 257] && ids.count == 3 + "<|call|>".utf8.count)
  }
}
