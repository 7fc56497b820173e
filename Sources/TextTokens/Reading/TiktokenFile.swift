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
          advice: "the file may be damaged: fetch it again")
      }
      tokens.append(Array(token))
    }
    guard !tokens.isEmpty else { throw .tokenizer(.missing, path, nil, "holds no tokens") }
  }

  func tokenizer(config: JSONValue?) throws(RegateError) -> Tokenizer {
    var table = TokenTable(capacity: tokens.count)
    for (id, token) in tokens.enumerated() {
      guard table.insert(token, id: UInt32(id)) else {
        throw .tokenizer(.malformed, path, "line \(id + 1)", "the token is there twice")
      }
    }
    for byte in UInt8.min...UInt8.max where table.id(of: [byte]) == nil {
      throw .tokenizer(.malformed, path, nil, "the byte \(byte) has no token")
    }
    let controls = controlTokens(config)
    let count = tokens.count + controls.count
    var pieces = TokenPieces(count: count)
    for (id, token) in tokens.enumerated() { pieces.set(id, token) }
    for control in controls { pieces.set(Int(control.id), control.content) }
    let model = try ConcatenationMerges(table, unit: .bytes, path: path).model(
      ranks: tokens.indices.map { UInt32($0) }, count: count, byteTokens: [], unknown: nil,
      ignoresMerges: true)
    let pattern: Pattern
    do throws(PatternProblem) {
      pattern = try Pattern(GGUFPreTokenizer.kimiK2)
    } catch {
      throw .tokenizer(.unsupported, path, nil, error.problem)
    }
    return Tokenizer(
      path: path, vocabularySize: count, beginningID: nil, endID: nil, prefix: [], suffix: [],
      model: model, added: AddedTokens(controls), addedAfterNormalization: AddedTokens([]),
      normalizers: [], steps: [.split(pattern, .isolated, inverted: false)], pieces: pieces)
  }

  private func controlTokens(_ config: JSONValue?) -> [AddedToken] {
    (tokens.count..<tokens.count + TiktokenFile.controlTokens).map { id in
      let named = config?["added_tokens_decoder"]?[String(id)]?["content"]?.stringValue
      let name = named ?? "<|reserved_token_\(id)|>"
      return AddedToken(content: Array(name.utf8), id: UInt32(id), isSpecial: true)
    }
  }
}
