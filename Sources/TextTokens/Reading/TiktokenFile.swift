// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation

// tiktoken.model, as Kimi-K2 ships it instead of a tokenizer.json (tokenization_kimi.py).
//
// 1. A line for each token: its bytes in base64, a space, its rank, which is its id.
// 2. 256 control tokens follow the last rank. tokenizer_config.json, "added_tokens_decoder"
//    {id: {"content"}}, names some; the others are <|reserved_token_ID|>.

/// Reads a tiktoken.model and the tokenizer_config.json beside it.
struct TiktokenFile {
  private static let controlTokens = 256

  let path: String
  private var tokens: [[UInt8]] = []

  init(path: String) throws(RegateError) {
    self.path = path
    let file = try MappedFile(path: path)
    guard file.count <= JSONValue.sizeLimit else {
      throw RegateError(
        .malformed, file: path,
        "has \(file.count) bytes, more than the \(JSONValue.sizeLimit)"
          + " allowed for a vocabulary", advice: "check that this is the right file")
    }
    let lines = try file.bytes(in: 0..<file.count).split(separator: UInt8(ascii: "\n"))
    for (number, line) in lines.enumerated() {
      let parts = line.split(separator: UInt8(ascii: " "))
      guard parts.count == 2, let token = Data(base64Encoded: Data(parts[0])), !token.isEmpty,
        Int(String(decoding: parts[1], as: UTF8.self)) == number
      else {
        throw .tokenizer(
          .malformed, path, "line \(number + 1)",
          "must be a token in base64, a space, and the rank \(number)",
          advice: "check that this is the model's own tiktoken.model")
      }
      tokens.append(Array(token))
    }
    guard !tokens.isEmpty else { throw .tokenizer(.missing, path, nil, "holds no tokens") }
  }

  func tokenizer(config: JSONValue?) throws(RegateError) -> Tokenizer {
    try RankedVocabulary(
      path: path, tokens: tokens, firstID: 0, controls: controlTokens(config),
      pattern: ModelPatterns.kimiK2
    ).tokenizer()
  }

  private func controlTokens(_ config: JSONValue?) -> [AddedToken] {
    (tokens.count..<tokens.count + TiktokenFile.controlTokens).map { id in
      let named = config?["added_tokens_decoder"]?[String(id)]?["content"]?.stringValue
      let name = named ?? "<|reserved_token_\(id)|>"
      return AddedToken(content: Array(name.utf8), id: UInt32(id), isSpecial: true)
    }
  }
}
