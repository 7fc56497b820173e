// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing
import TextTokens

@Suite struct TiktokenTests {
  /// The bytes, and tokens in order of rank after them.
  static let words = ["ab", "bc", "abc", " t", "he", " the", "你", "cab", "aa", "aaaa", "baa"]
  static let tokens = (UInt8.min...UInt8.max).map { [$0] } + words.map { Array($0.utf8) }

  private func tokenizer() throws -> Tokenizer {
    let directory = try TemporaryDirectory()
    let lines = TiktokenTests.tokens.enumerated().map {
      Data($0.element).base64EncodedString() + " \($0.offset)"
    }
    try directory.write(Array(lines.joined(separator: "\n").utf8), to: "tiktoken.model")
    let first = TiktokenTests.tokens.count
    let config = #"{"added_tokens_decoder": {"\#(first)": {"content": "[BOS]"}}}"#
    try directory.write(Array((config).utf8), to: "tokenizer_config.json")
    return try Tokenizer(directory: directory.path(""))
  }

  /// tiktoken's rule: merge the pair whose concatenation has the lowest rank until there is none.
  private func naive(_ piece: [UInt8]) -> [Int] {
    var parts = piece.map { [$0] }
    if let whole = TiktokenTests.tokens.firstIndex(of: piece) { return [whole] }
    while true {
      let ranks = zip(parts, parts.dropFirst()).map { TiktokenTests.tokens.firstIndex(of: $0 + $1) }
      guard let best = ranks.compactMap({ $0 }).min(), let at = ranks.firstIndex(of: best) else {
        return parts.compactMap { TiktokenTests.tokens.firstIndex(of: $0) }
      }
      parts[at] += parts.remove(at: at + 1)
    }
  }

  @Test func `Pieces merge by rank as tiktoken merges them`() throws {
    let tokenizer = try tokenizer()
    var generator = SeededGenerator(seed: 5)
    let letters = Array("abcth e你".unicodeScalars)
    for length in 0..<160 {
      var text = ""
      for _ in 0..<length {
        text.unicodeScalars.append(letters[Int(generator.next() % UInt64(letters.count))])
      }
      let wanted = tokenizer.pieces(of: text).flatMap { naive(Array($0.utf8)) }
      #expect(tokenizer.encode(text, addSpecial: true) == wanted, "\(text)")
    }
  }

  @Test func `Control tokens follow the ranks`() throws {
    let tokenizer = try tokenizer()
    let first = TiktokenTests.tokens.count
    #expect(tokenizer.vocabularySize == first + 256)
    #expect(
      tokenizer.encode("[BOS]abc<|reserved_token_\(first + 3)|>", addSpecial: true)
        == [first, 258, first + 3])
  }
}
