// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

// tokenizer.json, version "1.0", as Hugging Face tokenizers 0.23 writes it.
//
// 1. "model": "type" "BPE" (older files have no type), "vocab" {token: id}, "merges" ["a b"] or
//    [["a", "b"]] in order of rank, "unk_token", "fuse_unk", "byte_fallback", "ignore_merges".
// 2. "added_tokens": [{"id", "content", "special", "normalized", "single_word", "lstrip",
//    "rstrip"}].
// 3. "normalizer", "pre_tokenizer", "post_processor": null or {"type": ...}; "Sequence" holds
//    several.
// 4. "truncation", "padding" and "decoder" are about other uses and not read.
//
// The vocabulary is read token by token: as JSON keys, tokens that differ only in Unicode
// normalisation would be one.

/// What stands in a tokenizer.json.
struct TokenizerJSON {
  var tokens: [(text: String, id: UInt32)] = []
  var merges: [(left: String, right: String)] = []
  /// The model without its vocabulary and merges.
  var model: [String: JSONValue] = [:]
  /// The rest of the file.
  var parts: [String: JSONValue] = [:]
  /// What is odd about the file's JSON.
  private(set) var note: String?
  let path: String

  /// A vocabulary and its merges, with the `parts` that cut text.
  init(
    path: String, tokens: [(text: String, id: UInt32)], merges: [(left: String, right: String)],
    parts: [String: JSONValue]
  ) {
    self.path = path
    self.tokens = tokens
    self.merges = merges
    self.parts = parts
  }

  init(path: String) throws(RegateError) {
    self.path = path
    var reader = try JSONReader(contentsOf: path, dialect: .repeatedKeys)
    try read(&reader)
    try reader.finish()
    note = reader.liberties.warning(file: path.lastPathComponent)
    guard !tokens.isEmpty else {
      throw .tokenizer(.missing, path, "model.vocab", "there is no vocabulary")
    }
  }

  private mutating func read(_ reader: inout JSONReader) throws(RegateError) {
    var tokenizer = self
    var known: Set<String> = []
    try reader.readObject { (reader, key) throws(RegateError) in
      if !known.insert(key).inserted { try reader.repeated(key) }
      switch key {
      case "model": try tokenizer.readModel(&reader)
      case "added_tokens", "normalizer", "pre_tokenizer", "post_processor":
        tokenizer.parts[key] = try reader.readValue()
      default: try reader.skipValue()
      }
    }
    self = tokenizer
  }

  private mutating func readModel(_ reader: inout JSONReader) throws(RegateError) {
    var tokenizer = self
    (tokenizer.tokens, tokenizer.merges, tokenizer.model) = ([], [], [:])
    var known: Set<String> = []
    try reader.readObject { (reader, key) throws(RegateError) in
      if !known.insert(key).inserted {
        // tokenizers tells models apart by their type before it reads them.
        guard key != "type" else { throw reader.duplicate(key) }
        try reader.repeated(key)
      }
      switch key {
      case "vocab": tokenizer.tokens = try TokenizerJSON.vocabulary(&reader)
      case "merges": try tokenizer.readMerges(&reader)
      default: tokenizer.model[key] = try reader.readValue()
      }
    }
    self = tokenizer
  }

  /// A table of tokens and ids, in the order of the file.
  static func vocabulary(
    _ reader: inout JSONReader
  ) throws(RegateError) -> [(text: String, id: UInt32)] {
    guard try reader.kind() == .object else {
      throw .tokenizer(
        .unsupported, reader.file, "model.vocab", "is no table of tokens and ids",
        advice: "only BPE models are supported; give token ids instead of text")
    }
    var tokens: [(text: String, id: UInt32)] = []
    try reader.readObject { (reader, key) throws(RegateError) in
      let id = try reader.readInteger()
      guard id >= 0, id < VocabularyLimit.id else {
        throw reader.error("token \"\(key)\" has the id \(id), outside 0..<\(VocabularyLimit.id)")
      }
      tokens.append((key, UInt32(id)))
    }
    return tokens
  }

  private mutating func readMerges(_ reader: inout JSONReader) throws(RegateError) {
    var merges: [(left: String, right: String)] = []
    try reader.readArray { (reader) throws(RegateError) in
      if try reader.kind() == .string {
        let text = try reader.readString()
        let parts = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 2, let left = String(parts[0]), let right = String(parts[1]) else {
          throw reader.error("merge \"\(text)\" is not two tokens with a space between")
        }
        merges.append((left, right))
        return
      }
      var pair: [String] = []
      try reader.readArray { (reader) throws(RegateError) in pair.append(try reader.readString()) }
      guard pair.count == 2 else {
        throw reader.error("a merge has \(pair.count) parts, must have 2")
      }
      merges.append((pair[0], pair[1]))
    }
    self.merges = merges
  }
}
