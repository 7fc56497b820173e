// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

/// A vocab.json {token: id} with a merges.txt: a line for each merge, two tokens with a space
/// between; lines that begin with "#version" are none. How text is cut is part of a class's code.
struct VocabularyFiles {
  let vocabulary: String
  let merges: String

  func tokenizer(
    _ kind: VocabularyKind, _ declared: DeclaredTokens
  ) throws(RegateError) -> Tokenizer {
    let json = TokenizerJSON(
      path: vocabulary, tokens: try tokens(), merges: try pairs(),
      parts: kind.parts(addsPrefixSpace: declared.flag("add_prefix_space")))
    var tokenizer = try json.tokenizer(declared)
    if declared.flag("add_bos_token") {
      tokenizer.prefix = try ids("bos_token", declared, tokenizer)
    }
    if declared.flag("add_eos_token") {
      tokenizer.suffix = try ids("eos_token", declared, tokenizer)
    }
    return tokenizer
  }

  private func ids(
    _ name: String, _ declared: DeclaredTokens, _ tokenizer: Tokenizer
  ) throws(RegateError) -> [Int] {
    declared.text(of: name).flatMap { tokenizer.id(of: $0) }.map { [$0] } ?? []
  }

  private func tokens() throws(RegateError) -> [(text: String, id: UInt32)] {
    var reader = try JSONReader(contentsOf: vocabulary, dialect: .python)
    let tokens = try TokenizerJSON.vocabulary(&reader)
    try reader.finish()
    guard !tokens.isEmpty else {
      throw .tokenizer(.missing, vocabulary, nil, "there is no vocabulary")
    }
    return tokens
  }

  private func pairs() throws(RegateError) -> [(left: String, right: String)] {
    let text = try contents()
    guard firstInvalidUTF8(in: text) == nil else {
      throw .tokenizer(.malformed, merges, nil, "is not valid UTF-8")
    }
    var pairs: [(left: String, right: String)] = []
    let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      let line = line.last == 0x0D ? line.dropLast() : line
      if line.isEmpty || line.starts(with: "#version".utf8) { continue }
      let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
      guard parts.count == 2 else {
        throw .tokenizer(
          .malformed, merges, "line \(number + 1)", "is not two tokens with a space between")
      }
      pairs.append(
        (String(decoding: parts[0], as: UTF8.self), String(decoding: parts[1], as: UTF8.self)))
    }
    return pairs
  }

  private func contents() throws(RegateError) -> [UInt8] {
    let file = try MappedFile(path: merges)
    guard file.count <= JSONValue.sizeLimit else {
      throw RegateError(
        .malformed, file: merges,
        "has \(file.count) bytes, more than the \(JSONValue.sizeLimit) allowed for merges",
        advice: "check that this is the right file")
    }
    return try file.bytes(in: 0..<file.count)
  }
}
