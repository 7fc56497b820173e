// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import TestSupport
import Testing
import TextTokens

@Suite struct MalformedTokenizerTests {
  /// A sound tokenizer.json, with parts replaced.
  private static func json(
    vocab: String = #"{"a": 0, "b": 1, "ab": 2}"#, merges: String = #"["a b"]"#,
    model: String = "", rest: String = ""
  ) -> String {
    #"{"model": {"type": "BPE", "vocab": \#(vocab), "merges": \#(merges)\#(model)}\#(rest)}"#
  }

  private static func preTokenizer(_ value: String) -> String {
    json(rest: #", "pre_tokenizer": \#(value)"#)
  }

  /// Normalizers each of which makes ten letters of one.
  private static func growing(_ count: Int) -> String {
    let one = #"{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}"#
    let all = [String](repeating: one, count: count).joined(separator: ",")
    return json(rest: #", "normalizer": {"type": "Sequence", "normalizers": [\#(all)]}"#)
  }

  private static func template(_ single: String, tokens: String = "{}") -> String {
    json(
      rest: #", "post_processor": {"type": "TemplateProcessing", "single": \#(single), "#
        + #""special_tokens": \#(tokens)}"#)
  }

  static let files: [(json: String, says: String)] = [
    ("", "ends where"), ("[]", "'[' where an object"),
    (#"{"model": {}}"#, "there is no vocabulary"),
    (json() + "x", "the end of the JSON text"), (json(model: #", "type": "BPE""#), "duplicate key"),
    (#"{"model": {"type": "Unigram", "vocab": [["a", 0.5]]}}"#, "only BPE models are supported"),
    (#"{"model": {"type": "WordPiece", "vocab": {"a": 0}}}"#, "\"WordPiece\"; only BPE"),
    (json(vocab: #"{"a": -1}"#), "the id -1, outside"),
    (json(vocab: #"{"a": 99999999}"#), "the id 99999999, outside"),
    (json(vocab: #"{"a": "x"}"#), "where a digit is expected"),
    (json(vocab: #"{"a": 1.5}"#), "64-bit integer is expected"),
    (json(merges: #"["a c"]"#), "model.merges[0]"), (json(merges: #"["ab"]"#), "not two tokens"),
    (json(merges: #"["a b "]"#), "not two tokens"),
    (json(merges: #"[["a"]]"#), "a merge has 1 parts"),
    (json(merges: #"[["b", "a"]]"#), "or the two together"),
    (json(model: #", "unk_token": "?""#), "model.unk_token: \"?\""),
    (json(model: #", "byte_fallback": 1"#), "byte_fallback: is an integer"),
    (json(model: #", "dropout": 0.1"#), "drawn at random"),
    (json(model: #", "continuing_subword_prefix": "@@""#), "continuing_subword_prefix"),
    (json(model: #", "end_of_word_suffix": "</w>""#), "end_of_word_suffix"),
    (json(rest: #", "added_tokens": 3"#), "added_tokens: is an integer"),
    (json(rest: #", "added_tokens": [{"content": "x"}]"#), "added_tokens[0]"),
    (json(rest: #", "normalizer": {"type": "Lowercase"}"#), "normalizer: is \"Lowercase\""),
    (json(rest: #", "normalizer": {"type": "Sequence"}"#), "normalizers must be an array"),
    (json(rest: #", "normalizer": {"type": "Prepend"}"#), "prepend must be a string"),
    (
      json(rest: #", "normalizer": {"type": "Replace", "pattern": "a", "content": "b"}"#),
      "pattern must be"
    ),
    (growing(4), "more than 1024 times as long"),
    (
      preTokenizer(
        #"{"type": "Sequence", "pretokenizers": ["#
          + [String](repeating: #"{"type": "Digits"}"#, count: 30_000).joined(separator: ",") + "]}"
      ),
      "pretokenizers[64]: is one step more than 64"
    ),
    (preTokenizer(#"{"type": "BertPreTokenizer"}"#), "is \"BertPreTokenizer\""),
    (preTokenizer("{}"), "a component without a type"),
    (
      preTokenizer(#"{"type": "Split", "pattern": {"String": "x"}, "behavior": "Odd"}"#),
      "\"Odd\" is unknown"
    ),
    (preTokenizer(#"{"type": "Metaspace", "replacement": "ab"}"#), "must be one character"),
    (
      preTokenizer(#"{"type": "Metaspace", "replacement": "_", "prepend_scheme": "x"}"#),
      "prepend_scheme \"x\""
    ),
    (preTokenizer(#"{"type": "ByteLevel", "use_regex": "no"}"#), "use_regex is a string"),
    (
      preTokenizer(
        #"{"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "Digits"}]}"#),
      "pretokenizers[1]: \"Digits\" follows"
    ),
    (json(rest: #", "post_processor": {"type": "RobertaProcessing"}"#), "\"RobertaProcessing\""),
    (template("[]"), "sequence A 0 times"),
    (
      template(#"[{"SpecialToken": {"id": "z"}}]"#),
      "does not give the ids of \"z\""
    ),
    (
      template(
        #"[{"SpecialToken": {"id": "z"}}, {"Sequence": {"id": "A"}}]"#,
        tokens: #"{"z": {"ids": [7]}}"#),
      "beyond the last token"
    ),
  ]

  @Test(arguments: files)
  func `A defect of a tokenizer.json is named`(json: String, says: String) throws {
    let directory = try TemporaryDirectory()
    try directory.write(Array(json.utf8), to: "tokenizer.json")
    let error = #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
    let line = error?.description ?? ""
    #expect(line.contains(says) && line.contains("tokenizer.json"), "\(line)")
  }

  @Test func `The sound file that the others are made of is read`() throws {
    let directory = try TemporaryDirectory()
    try directory.write(Array(MalformedTokenizerTests.json().utf8), to: "tokenizer.json")
    let tokenizer = try Tokenizer(directory: directory.path(""))
    #expect(tokenizer.encode("abba", addSpecial: true) == [2, 1, 0])
  }

  // As tokenizers 0.23.3 and transformers 5.23 read such files.
  @Test func `Of keys that are there twice the last counts, and that is said`() throws {
    let directory = try TemporaryDirectory()
    let json = MalformedTokenizerTests.json(model: #", "merges": []"#)
    try directory.write(Array(json.utf8), to: "tokenizer.json")
    let settings = #"{"model_max_length": Infinity, "eos_token": "a", "eos_token": "b"}"#
    try directory.write(Array(settings.utf8), to: "tokenizer_config.json")
    let tokenizer = try Tokenizer(directory: directory.path(""))
    #expect(tokenizer.encode("abba", addSpecial: true) == [0, 1, 1, 0])
    #expect(tokenizer.endID == 1 && tokenizer.notes.count == 2)
    #expect(tokenizer.notes[0].contains("tokenizer.json: the key model.merges is there twice"))
    #expect(
      tokenizer.notes[1].contains(
        "tokenizer_config.json: model_max_length is Infinity; the key eos_token is there twice"))
  }

  static let vocabularies: [(draft: VocabularyDraft, says: String)] = [
    (VocabularyDraft(model: "bert", tokens: ["a"]), "is \"bert\"; only \"gpt2\", \"gemma4\" and"),
    (VocabularyDraft(tokens: [], merges: []), "holds no vocabulary"),
    (VocabularyDraft(tokens: ["a"]), "needs its merges"),
    (VocabularyDraft(pre: "odd", tokens: ["a"], merges: []), "\"odd\" is a pre-tokenizer"),
    (VocabularyDraft(tokens: ["a", "a"], merges: []), "\"a\" is there twice"),
    (VocabularyDraft(tokens: ["a", "b"], types: [1], merges: []), "an integer for each of the 2"),
    (
      VocabularyDraft(tokens: ["a"], merges: [], flags: ["add_eos_token": true]),
      "add_eos_token asks for a token that is not named"
    ),
    (VocabularyDraft(model: "llama", tokens: ["a"], scores: [.nan]), "a score that is no number"),
    (
      VocabularyDraft(model: "llama", tokens: ["a", "b"], scores: [1]), "a number for each of the 2"
    ),
    (
      VocabularyDraft(
        model: "llama", tokens: ["a", String(repeating: "b", count: 2000)], scores: [1, 2]),
      "has 2000 bytes"
    ),
  ]

  @Test(arguments: vocabularies.indices)
  func `A defect of a GGUF vocabulary is named`(index: Int) throws {
    let (draft, says) = MalformedTokenizerTests.vocabularies[index]
    let error = #expect(throws: RegateError.self) { try draft.tokenizer() }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }

  static let tekkens: [(json: String, says: String)] = [
    (#"{"vocab": []}"#, "config.pattern: there is no pattern"),
    (#"{"config": {"pattern": "a"}}"#, "special_tokens: an older version keeps them in code"),
    (#"{"vocab": [{"rank": 0}]}"#, "token 0 of the vocabulary has no token_bytes"),
    (#"{"vocab": [{"token_bytes": "*"}]}"#, "token 0 of the vocabulary has no token_bytes"),
    (#"{"special_tokens": [{"rank": 1, "token_str": "x"}]}"#, "the ranks from 0 on"),
    (
      #"{"config": {"pattern": "a", "default_num_special_tokens": -1}, "special_tokens": []}"#,
      "is -1, but there are 0"
    ),
    (#"{"config": {"pattern": "a"}, "special_tokens": []}"#, "the byte 0 has no token"),
  ]

  @Test(arguments: tekkens)
  func `A defect of a tekken.json is named`(json: String, says: String) throws {
    let directory = try TemporaryDirectory()
    try directory.write(Array(json.utf8), to: "tekken.json")
    let error = #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }

  @Test(arguments: [
    (#"{"a": 0}"#, "#version: 0.2\na b c", "qwen2_moe", "merges.txt: line 2: is not two tokens"),
    (#"{"a": 0}"#, "a b", "qwen2_moe", "the two together are not in the vocabulary"),
    ("{}", "", "qwen2_moe", "vocab.json: there is no vocabulary"),
    (#"{"a": 0}"#, "", "mixtral", "no `tokenizer_class` that is known says how text is cut"),
  ])
  func `A defect of vocab.json and merges.txt is named`(
    vocabulary: String, merges: String, model: String, says: String
  ) throws {
    let directory = try TemporaryDirectory()
    try directory.write(Array(vocabulary.utf8), to: "vocab.json")
    try directory.write(Array(merges.utf8), to: "merges.txt")
    try directory.write(Array(#"{"model_type": "\#(model)"}"#.utf8), to: "config.json")
    let error = #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }

  static let ranks: [(text: String, says: String)] = [
    ("", "holds no tokens"), ("YQ== 1", "line 1: must be"), ("YQ==", "line 1: must be"),
    ("*** 0", "line 1: must be"), ("YQ== 0\nYQ== 1", "rank 1: the token is there twice"),
    ("YQ== 0\nYg== 1", "the byte 0 has no token"),
  ]

  @Test(arguments: ranks)
  func `A defect of a tiktoken.model is named`(text: String, says: String) throws {
    let directory = try TemporaryDirectory()
    try directory.write(Array(text.utf8), to: "tiktoken.model")
    let error = #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }

  @Test func `A folder without a tokenizer says what to fetch`() throws {
    let directory = try TemporaryDirectory()
    let none = #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
    #expect(none?.description.contains("the folder has no tokenizer") == true)
    try directory.write([1], to: "tokenizer.model")
    let other = #expect(throws: RegateError.self) { try Tokenizer(directory: directory.path("")) }
    #expect(other?.description.contains("tokenizer.model, which is not read") == true)
    #expect(other?.advice?.contains("token ids") == true)
  }
}
