// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// The merges of vocabularies that have no list of them: two neighbours merge where their
/// concatenation is a token, and the token's rank is the merge's.
struct ConcatenationMerges {
  private let tokens: TokenTable
  private let unit: BytePairModel.Unit
  private let path: String

  init(_ tokens: TokenTable, unit: BytePairModel.Unit, path: String) {
    self.tokens = tokens
    self.unit = unit
    self.path = path
  }

  /// Ranks of scores: the highest score first, equal scores have equal rank.
  static func ranks(_ scores: [Double]) -> [UInt32] {
    let order = scores.indices.sorted { scores[$0] > scores[$1] }
    var ranks = [UInt32](repeating: 0, count: scores.count)
    var rank: UInt32 = 0
    for (index, id) in order.enumerated() {
      if index > 0, scores[id] < scores[order[index - 1]] { rank += 1 }
      ranks[id] = rank
    }
    return ranks
  }

  /// The model of `count` tokens of these ranks.
  func model(
    ranks: [UInt32], count: Int, byteTokens: [UInt32?], unknown: UInt32?,
    wholePieces: BytePairModel.WholePieces
  ) throws(RegateError) -> BytePairModel {
    var symbols = tokens
    let bare = bareCharacters(&symbols, from: UInt32(count))
    var merges = MergeTable(capacity: tokens.count * 2)
    var crosses = false
    for (token, id) in tokens.entries {
      guard token.count <= VocabularyLimit.splitToken else {
        throw .tokenizer(
          .unsupported, path, "token \(id)",
          "has \(token.count) bytes; at most \(VocabularyLimit.splitToken) are supported")
      }
      for cut in token.indices.dropFirst() where unit == .bytes || token[cut] & 0xC0 != 0x80 {
        guard let left = symbols.id(of: token[..<cut]), let right = symbols.id(of: token[cut...])
        else { continue }
        merges.insert(left, right, rank: ranks[Int(id)], merged: id, keep: .first)
        crosses =
          crosses
          || (token[cut...].starts(with: BytePairModel.marker)
            && !token[..<cut].suffix(3).elementsEqual(BytePairModel.marker))
      }
    }
    return BytePairModel(
      unit: unit, tokens: tokens, merges: merges, wholePieces: wholePieces,
      byteTokens: byteTokens, unknown: unknown, fusesUnknown: false,
      bareSymbols: bare.map { content in
        BytePairModel.BareSymbol(
          content: content, tokens: spelling(content, byteTokens) ?? unknown.map { [$0] } ?? [])
      },
      firstBareSymbol: UInt32(count), dropsAtEnd: true,
      cutsAtMarker: unit == .characters && !crosses)
  }

  /// The byte tokens that spell `character`, where there are all of them.
  private func spelling(_ character: [UInt8], _ byteTokens: [UInt32?]) -> [UInt32]? {
    guard !byteTokens.isEmpty else { return nil }
    let tokens = character.compactMap { byteTokens[Int($0)] }
    return tokens.count == character.count ? tokens : nil
  }

  /// The characters inside of tokens that are no tokens themselves. They take part in merges.
  private func bareCharacters(_ symbols: inout TokenTable, from first: UInt32) -> [[UInt8]] {
    guard unit == .characters else { return [] }
    var bare: [[UInt8]] = []
    for (token, _) in tokens.entries {
      for scalar in String(decoding: token, as: UTF8.self).unicodeScalars {
        let character = Array(String(scalar).utf8)
        if symbols.insert(character, id: first + UInt32(bare.count)) { bare.append(character) }
      }
    }
    return bare
  }
}
