// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation

// tekken.json, as Mistral ships it instead of a tokenizer.json.
//
// 1. "config": "pattern", "default_vocab_size", "default_num_special_tokens" (N).
// 2. "special_tokens": [{"rank", "token_str"}], whose ids are their ranks; up to N they are
//    <SPECIAL_RANK>. mistral-common puts "<s>" before a document.
// 3. "vocab": [{"rank", "token_bytes" (base64)}] in the order of ranks; ids follow from N on. What
//    is beyond the size is not used.

/// Reads a tekken.json.
struct TekkenFile {
  let path: String
  private var config: JSONValue = [:]
  private var tokens: [[UInt8]] = []
  private var special: [String]?

  init(path: String) throws(RegateError) {
    self.path = path
    var reader = try JSONReader(contentsOf: path, dialect: .python)
    try read(&reader)
    try reader.finish()
  }

  private mutating func read(_ reader: inout JSONReader) throws(RegateError) {
    var tekken = self
    try reader.readObject { (reader, key) throws(RegateError) in
      switch key {
      case "config": tekken.config = try reader.readValue()
      case "vocab":
        try reader.readArray { (reader) throws(RegateError) in try tekken.readToken(&reader) }
      case "special_tokens": try tekken.readSpecial(try reader.readValue())
      default: try reader.skipValue()
      }
    }
    self = tekken
  }

  func tokenizer() throws(RegateError) -> Tokenizer {
    guard let pattern = config["pattern"]?.stringValue else {
      throw .tokenizer(.missing, path, "config.pattern", "there is no pattern that cuts text")
    }
    guard let special else {
      throw .tokenizer(
        .unsupported, path, "special_tokens", "an older version keeps them in code",
        advice: "fetch the model's tokenizer.json, or give token ids instead of text")
    }
    let count = config["default_num_special_tokens"]?.intValue ?? special.count
    guard count >= special.count, count <= VocabularyLimit.id else {
      throw .tokenizer(
        .malformed, path, "config.default_num_special_tokens",
        "is \(count), but there are \(special.count) special tokens")
    }
    let size = config["default_vocab_size"]?.intValue ?? .max
    let names = special + (special.count..<count).map { "<SPECIAL_\($0)>" }
    let controls = names.enumerated().map {
      AddedToken(content: Array($0.element.utf8), id: UInt32($0.offset), isSpecial: true)
    }
    return try RankedVocabulary(
      path: path, tokens: Array(tokens.prefix(max(size - count, 0))), firstID: count,
      controls: controls, pattern: pattern, prefix: names.firstIndex(of: "<s>").map { [$0] } ?? []
    ).tokenizer()
  }

  private mutating func readToken(_ reader: inout JSONReader) throws(RegateError) {
    var token: [UInt8]?
    try reader.readObject { (reader, key) throws(RegateError) in
      guard key == "token_bytes" else { return try reader.skipValue() }
      token = Data(base64Encoded: try reader.readString()).map { Array($0) }
    }
    guard let token, !token.isEmpty, tokens.count < VocabularyLimit.id else {
      throw reader.error("token \(tokens.count) of the vocabulary has no token_bytes in base64")
    }
    tokens.append(token)
  }

  private mutating func readSpecial(_ value: JSONValue) throws(RegateError) {
    let entries = (value.arrayValue ?? []).map {
      ($0["rank"]?.intValue, $0["token_str"]?.stringValue)
    }
    let sorted = entries.compactMap { rank, text in rank.flatMap { rank in text.map { (rank, $0) } }
    }
    .sorted { $0.0 < $1.0 }
    guard sorted.count == entries.count, sorted.map(\.0) == Array(sorted.indices) else {
      throw .tokenizer(
        .malformed, path, "special_tokens", "must have a token_str and the ranks from 0 on")
    }
    special = sorted.map(\.1)
  }
}
