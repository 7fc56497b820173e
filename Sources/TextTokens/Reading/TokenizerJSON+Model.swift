// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

extension TokenizerJSON {
  /// The tokenizer that the file describes.
  func tokenizer() throws(RegateError) -> Tokenizer {
    try checkModel()
    let (steps, byteLevel) = try preTokenizer()
    let normalizers = try normalizers()
    let table = try vocabulary()
    let added = try addedTokens(table)
    let largest = (tokens.map(\.id) + added.map(\.token.id)).max() ?? 0
    let template = try template()
    guard (template.prefix + template.suffix).allSatisfy({ $0 <= Int(largest) }) else {
      throw .tokenizer(
        .malformed, path, "post_processor", "a template's id is beyond the last token, \(largest)")
    }
    let late = added.filter(\.normalized).map { (token, _) in
      var token = token
      token.content = normalizers.reduce(token.content) { $1.apply($0) }
      return token
    }
    return Tokenizer(
      path: path, vocabularySize: Int(largest) + 1, beginningID: nil, endID: nil,
      prefix: template.prefix, suffix: template.suffix,
      model: try model(table, count: largest + 1, byteLevel: byteLevel),
      added: AddedTokens(added.filter { !$0.normalized }.map(\.token)),
      addedAfterNormalization: AddedTokens(late), normalizers: normalizers, steps: steps,
      pieces: pieces(added.map(\.token), count: Int(largest) + 1, byteLevel: byteLevel))
  }

  private func modelError(_ key: String, _ problem: String) -> RegateError {
    .tokenizer(
      .unsupported, path, "model.\(key)", problem, advice: "give token ids instead of text")
  }

  private func modelFlag(_ key: String) throws(RegateError) -> Bool {
    guard let value = model[key], !value.isNull else { return false }
    guard let flag = value.boolValue else {
      throw .tokenizer(
        .malformed, path, "model.\(key)", "is \(value.kindName), must be a boolean")
    }
    return flag
  }

  private func checkModel() throws(RegateError) {
    if let type = model["type"], type != "BPE" {
      throw modelError("type", "is \"\(type.stringValue ?? type.kindName)\"; only BPE is supported")
    }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      guard let value = model[key], !value.isNull, value != "" else { continue }
      throw modelError(key, "is set, which is not supported")
    }
    if let dropout = model["dropout"], !dropout.isNull, dropout.doubleValue != 0 {
      throw modelError("dropout", "is set: tokens would be drawn at random")
    }
  }

  /// The ids of all tokens by their text, which must differ, as must their ids.
  private func vocabulary() throws(RegateError) -> TokenTable {
    var table = TokenTable(capacity: tokens.count)
    var seen: Set<UInt32> = []
    for (text, id) in tokens {
      guard table.insert(text.utf8, id: id) else {
        throw .tokenizer(.malformed, path, "model.vocab", "the token \"\(text)\" is there twice")
      }
      guard seen.insert(id).inserted else {
        throw .tokenizer(.malformed, path, "model.vocab", "two tokens have the id \(id)")
      }
    }
    return table
  }

  private func model(
    _ table: TokenTable, count: UInt32, byteLevel: Bool
  ) throws(RegateError) -> BytePairModel {
    var unknown: UInt32?
    if let name = self.model["unk_token"]?.stringValue {
      guard let id = table.id(of: name.utf8) else {
        throw .tokenizer(
          .malformed, path, "model.unk_token", "\"\(name)\" is not in the vocabulary")
      }
      unknown = id
    }
    let byteTokens =
      try modelFlag("byte_fallback") ? ByteToken.names.map { table.id(of: $0.utf8) } : []
    let merges = try mergeTable(table)
    return BytePairModel(
      unit: byteLevel ? .bytes : .characters, tokens: byteLevel ? byteTable() : table,
      merges: merges.table, ignoresMerges: try modelFlag("ignore_merges"),
      byteTokens: byteTokens, unknown: unknown, fusesUnknown: try modelFlag("fuse_unk"),
      bareSymbols: [], firstBareSymbol: count,
      cutsAtMarker: !byteLevel && !merges.crossesMarker
        && table.id(of: BytePairModel.marker) != nil)
  }

  /// The merges by the ids of their tokens, and whether one joins a "▁" to another character
  /// before it.
  private func mergeTable(
    _ tokens: TokenTable
  ) throws(RegateError) -> (table: MergeTable, crossesMarker: Bool) {
    var table = MergeTable(capacity: merges.count)
    var crosses = false
    for (rank, (left, right)) in merges.enumerated() {
      guard let first = tokens.id(of: left.utf8), let second = tokens.id(of: right.utf8),
        let merged = tokens.id(of: Array(left.utf8) + Array(right.utf8))
      else {
        throw .tokenizer(
          .malformed, path, "model.merges[\(rank)]",
          "\"\(left)\", \"\(right)\" or the two together are not in the vocabulary")
      }
      table.insert(first, second, rank: UInt32(rank), merged: merged, keep: .last)
      crosses = crosses || (!left.hasMarkerEnd && right.hasMarkerStart)
    }
    return (table, crosses)
  }

  /// The tokens that spell bytes, by these bytes.
  private func byteTable() -> TokenTable {
    var table = TokenTable(capacity: tokens.count)
    for (text, id) in tokens {
      if let bytes = ByteAlphabet.bytes(of: text.unicodeScalars) { _ = table.insert(bytes, id: id) }
    }
    return table
  }

  private func pieces(_ added: [AddedToken], count: Int, byteLevel: Bool) -> TokenPieces {
    var pieces = TokenPieces(count: count)
    for (text, id) in tokens {
      let bytes =
        byteLevel ? ByteAlphabet.bytes(of: text.unicodeScalars) : ByteToken.bytes(of: text)
      pieces.set(Int(id), bytes ?? Array(text.utf8))
    }
    for token in added { pieces.set(Int(token.id), token.content) }
    return pieces
  }

  /// The added tokens, and whether they are looked for in the normalized text. An added token that
  /// is in the vocabulary has the id that it has there; the others follow the vocabulary in order.
  private func addedTokens(
    _ table: TokenTable
  ) throws(RegateError) -> [(token: AddedToken, normalized: Bool)] {
    guard let list = parts["added_tokens"], !list.isNull else { return [] }
    guard let entries = list.arrayValue else {
      throw .tokenizer(.malformed, path, "added_tokens", "is \(list.kindName), must be an array")
    }
    var found: [(token: AddedToken, normalized: Bool)] = []
    for (index, entry) in entries.enumerated() {
      let place = "added_tokens[\(index)]"
      guard let content = entry["content"]?.stringValue, let id = entry["id"]?.intValue,
        id >= 0, id < VocabularyLimit.id
      else {
        throw .tokenizer(
          .malformed, path, place, "must have a content and an id below \(VocabularyLimit.id)")
      }
      if let known = table.id(of: content.utf8), known != UInt32(id) {
        throw .tokenizer(
          .malformed, path, place,
          "\"\(content)\" has the id \(id), but \(known) in the vocabulary")
      }
      let special = entry["special"]?.boolValue ?? false
      let token = AddedToken(
        content: Array(content.utf8), id: UInt32(id), isSpecial: special,
        singleWord: entry["single_word"]?.boolValue ?? false,
        stripsLeft: entry["lstrip"]?.boolValue ?? false,
        stripsRight: entry["rstrip"]?.boolValue ?? false)
      found.append((token, entry["normalized"]?.boolValue ?? !special))
    }
    return found
  }
}

/// The names of byte tokens.
enum ByteToken {
  static let names = (0...255).map { byte in
    let hex = String(byte, radix: 16, uppercase: true)
    return "<0x" + (hex.count == 1 ? "0" : "") + hex + ">"
  }

  /// The bytes that a token of a SentencePiece vocabulary stands for.
  static func bytes(of token: String) -> [UInt8] {
    if token.utf8.count == 6, let byte = names.firstIndex(of: token) { return [UInt8(byte)] }
    let spaced = token.unicodeScalars.map { $0 == "▁" ? " " : $0 }
    return Array(String(String.UnicodeScalarView(spaced)).utf8)
  }
}

extension String {
  fileprivate var hasMarkerStart: Bool { unicodeScalars.first == "▁" }
  fileprivate var hasMarkerEnd: Bool { unicodeScalars.last == "▁" }
}
