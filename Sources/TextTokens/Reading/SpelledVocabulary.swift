// SPDX-License-Identifier: Apache-2.0

/// A byte-pair vocabulary by the texts that a GGUF file holds, and what these texts stand for.
struct SpelledVocabulary {
  /// Ids by the stored texts.
  let texts: TokenTable
  private let spelling: GGUFPreTokenizer.Spelling

  init(_ texts: TokenTable, as spelling: GGUFPreTokenizer.Spelling) {
    self.texts = texts
    self.spelling = spelling
  }

  /// The bytes that a stored text stands for; nil where it is none that text can become.
  func bytes(of text: String) -> [UInt8]? {
    switch spelling {
    case .byteAlphabet: ByteAlphabet.bytes(of: text.unicodeScalars)
    case .plain, .marked: ByteToken.bytes(of: text)
    }
  }

  func model(_ merges: GGUFMerges, wholePieces: BytePairModel.WholePieces) -> BytePairModel {
    let byteTokens =
      spelling == .byteAlphabet ? [] : ByteToken.names.map { texts.id(of: $0.utf8) }
    return BytePairModel(
      unit: spelling == .byteAlphabet ? .bytes : .characters, tokens: tokens(),
      merges: merges.table, wholePieces: wholePieces, byteTokens: byteTokens, unknown: nil,
      fusesUnknown: false,
      bareSymbols: merges.bare.map {
        BytePairModel.BareSymbol(content: unit(of: $0), tokens: ending(of: $0, byteTokens))
      }, firstBareSymbol: merges.firstBare, dropsAtEnd: true,
      cutsAtMarker: false)
  }

  /// Ids by what the encoder cuts text into.
  private func tokens() -> TokenTable {
    guard spelling == .byteAlphabet else { return texts }
    var tokens = TokenTable(capacity: texts.count)
    for (text, id) in texts.entries {
      let scalars = String(decoding: text, as: UTF8.self).unicodeScalars
      if let bytes = ByteAlphabet.bytes(of: scalars) { _ = tokens.insert(bytes, id: id) }
    }
    return tokens
  }

  private func unit(of text: [UInt8]) -> [UInt8] {
    guard spelling == .byteAlphabet else { return text }
    return ByteAlphabet.bytes(of: String(decoding: text, as: UTF8.self).unicodeScalars) ?? []
  }

  /// What llama.cpp makes of a merged text that is no token: the tokens of its bytes. Of the byte
  /// alphabet these are its ASCII characters.
  private func ending(of text: [UInt8], _ byteTokens: [UInt32?]) -> [UInt32] {
    text.compactMap { spelling == .byteAlphabet ? texts.id(of: [$0]) : byteTokens[Int($0)] }
  }
}
