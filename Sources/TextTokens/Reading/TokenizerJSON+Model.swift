// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

extension TokenizerJSON {
  /// The tokenizer that the file describes, with the tokens that others beside it declare.
  func tokenizer(_ declared: DeclaredTokens) throws(RegateError) -> Tokenizer {
    try checkModel()
    let (steps, byteLevel) = try preTokenizer()
    let normalizers = try normalizers()
    let table = vocabulary()
    var vocabulary = try addedTokens(table)
    declared.add(to: &vocabulary)
    let added = vocabulary.tokens
    let largest = (tokens.map(\.id) + added.map(\.id)).max() ?? 0
    let template = try template()
    guard (template.prefix + template.suffix).allSatisfy({ $0 <= Int(largest) }) else {
      throw .tokenizer(
        .malformed, path, "post_processor", "a template's id is beyond the last token, \(largest)")
    }
    let found = declared.splitsSpecial ? added.filter { !$0.isSpecial } : added
    let late = found.filter(\.isNormalized).map { (token) in
      var token = token
      token.content = normalizers.reduce(token.content) { $1.apply($0) }
      return token
    }
    var tokenizer = Tokenizer(
      path: path, vocabularySize: Int(largest) + 1, beginningID: nil, endID: nil,
      prefix: template.prefix, suffix: template.suffix,
      model: try model(table, count: largest + 1, byteLevel: byteLevel),
      added: AddedTokens(found.filter { !$0.isNormalized }),
      addedAfterNormalization: AddedTokens(late), normalizers: normalizers, steps: steps,
      pieces: pieces(added, count: Int(largest) + 1, byteLevel: byteLevel))
    tokenizer.notes = vocabulary.note(on: path) + [note].compactMap { $0 }
    return tokenizer
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

  /// The ids of all tokens by their text. Of equal texts the last counts; different ones may have
  /// one id.
  private func vocabulary() -> TokenTable {
    var table = TokenTable(capacity: tokens.count)
    for (text, id) in tokens.reversed() { _ = table.insert(text.utf8, id: id) }
    return table
  }

  private func model(
    _ table: TokenTable, count: UInt32, byteLevel: Bool
  ) throws(RegateError) -> BytePairModel {
    let bytes = byteLevel ? byteTable() : table
    let byteTokens =
      try modelFlag("byte_fallback") ? ByteToken.names.map { table.id(of: $0.utf8) } : []
    var unknown: UInt32?
    if let name = self.model["unk_token"]?.stringValue {
      unknown = table.id(of: name.utf8)
      let spellsAll =
        byteLevel
        ? (UInt8.min...UInt8.max).allSatisfy { bytes.id(of: [$0]) != nil }
        : !byteTokens.isEmpty && byteTokens.allSatisfy { $0 != nil }
      // Where every byte has a token it is never needed.
      guard unknown != nil || spellsAll else {
        throw .tokenizer(
          .malformed, path, "model.unk_token", "\"\(name)\" is not in the vocabulary")
      }
    }
    let merges = try mergeTable(table)
    return BytePairModel(
      unit: byteLevel ? .bytes : .characters, tokens: bytes,
      merges: merges.table, wholePieces: try modelFlag("ignore_merges") ? .all : .none,
      byteTokens: byteTokens, unknown: unknown, fusesUnknown: try modelFlag("fuse_unk"),
      bareSymbols: [], firstBareSymbol: count, dropsAtEnd: false,
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
    for (text, id) in tokens.reversed() {
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

  /// The added tokens of the file itself.
  private func addedTokens(_ table: TokenTable) throws(RegateError) -> AddedVocabulary {
    var added = AddedVocabulary(beside: table)
    guard let list = parts["added_tokens"], !list.isNull else { return added }
    guard let entries = list.arrayValue else {
      throw .tokenizer(.malformed, path, "added_tokens", "is \(list.kindName), must be an array")
    }
    for (index, entry) in entries.enumerated() {
      guard let token = DeclaredTokens.token(entry), let id = entry["id"]?.intValue else {
        throw .tokenizer(
          .malformed, path, "added_tokens[\(index)]", "must have a content and an id")
      }
      added.add(token, declared: id)
    }
    return added
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
