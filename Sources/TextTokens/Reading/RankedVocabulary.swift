// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// A vocabulary in the way of tiktoken: tokens are bytes, and merge in the order of their ranks.
struct RankedVocabulary {
  let path: String
  /// By rank.
  let tokens: [[UInt8]]
  /// The id of rank 0.
  let firstID: Int
  /// Tokens with other ids.
  let controls: [AddedToken]
  let pattern: String
  /// What goes before a document.
  var prefix: [Int] = []

  func tokenizer() throws(RegateError) -> Tokenizer {
    var table = TokenTable(capacity: tokens.count)
    for (rank, token) in tokens.enumerated() {
      guard table.insert(token, id: UInt32(firstID + rank)) else {
        throw .tokenizer(.malformed, path, "rank \(rank)", "the token is there twice")
      }
    }
    for byte in UInt8.min...UInt8.max where table.id(of: [byte]) == nil {
      throw .tokenizer(.malformed, path, nil, "the byte \(byte) has no token")
    }
    let count = max(firstID + tokens.count, (controls.map { Int($0.id) }.max() ?? -1) + 1)
    var pieces = TokenPieces(count: count)
    for (rank, token) in tokens.enumerated() { pieces.set(firstID + rank, token) }
    for control in controls { pieces.set(Int(control.id), control.content) }
    let ranks = (0..<count).map { UInt32(max($0 - firstID, 0)) }
    let model = try ConcatenationMerges(table, unit: .bytes, path: path).model(
      ranks: ranks, count: count, byteTokens: [], unknown: nil, wholePieces: .all)
    let cut: Pattern
    do throws(PatternProblem) {
      cut = try Pattern(pattern)
    } catch {
      throw .tokenizer(
        .unsupported, path, nil, error.problem, advice: "give token ids instead of text")
    }
    return Tokenizer(
      path: path, vocabularySize: count, beginningID: nil, endID: nil, prefix: prefix, suffix: [],
      model: model, added: AddedTokens(controls), addedAfterNormalization: AddedTokens([]),
      normalizers: [], steps: [.split(cut, .isolated, inverted: false)], pieces: pieces)
  }
}
