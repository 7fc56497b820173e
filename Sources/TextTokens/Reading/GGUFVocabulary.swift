// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections

// The vocabulary in a GGUF file, as llama.cpp (ggml 0.25) uses it.
//
// 1. `tokenizer.ggml.model`: "gpt2" (byte-level, with `tokenizer.ggml.merges` and the
//    pre-tokenizer that `tokenizer.ggml.pre` names) or "llama" (SentencePiece: merges by
//    `tokenizer.ggml.scores`, byte tokens, a space before the text unless
//    `tokenizer.ggml.add_space_prefix` is false).
// 2. `tokenizer.ggml.tokens`: the tokens by id. `tokenizer.ggml.token_type`: 1 normal, 2 unknown,
//    3 control, 4 user-defined, 5 unused, 6 byte. Types 2, 3 and 4 are found in the text itself.
// 3. `tokenizer.ggml.bos_token_id`, `eos_token_id`, `unknown_token_id`, `add_bos_token`,
//    `add_eos_token`.

/// Reads the vocabulary of a GGUF model.
struct GGUFVocabulary {
  private enum TokenType { static let unknown = 2, control = 3, userDefined = 4 }

  let path: String
  private let metadata: OrderedDictionary<String, GGUFValue>
  private let tokens: GGUFStrings
  private let types: [Int]

  init(_ metadata: OrderedDictionary<String, GGUFValue>, path: String) throws(RegateError) {
    self.path = path
    self.metadata = metadata
    guard let tokens = metadata["tokenizer.ggml.tokens"]?.strings, !tokens.isEmpty else {
      throw .tokenizer(
        .missing, path, "tokenizer.ggml.tokens", "the file holds no vocabulary",
        advice: "give token ids instead of text")
    }
    guard tokens.count <= VocabularyLimit.id else {
      throw .tokenizer(
        .malformed, path, "tokenizer.ggml.tokens",
        "has \(tokens.count) tokens, more than \(VocabularyLimit.id)")
    }
    self.tokens = tokens
    let types = metadata["tokenizer.ggml.token_type"]
    if let types, types.integers?.count != tokens.count {
      throw .tokenizer(
        .malformed, path, "tokenizer.ggml.token_type",
        "must hold an integer for each of the \(tokens.count) tokens")
    }
    self.types = types?.integers ?? []
  }

  func tokenizer() throws(RegateError) -> Tokenizer {
    let key = "tokenizer.ggml.model"
    switch metadata[key]?.string {
    case "gpt2": return try byteLevel()
    case "llama": return try sentencePiece()
    case let other:
      throw .tokenizer(
        .unsupported, path, key,
        "is \(other.map { "\"\($0)\"" } ?? "missing"); only \"gpt2\" and \"llama\" are supported",
        advice: "give token ids instead of text")
    }
  }

  // MARK: The two kinds

  private func byteLevel() throws(RegateError) -> Tokenizer {
    let name = metadata["tokenizer.ggml.pre"]?.string ?? "default"
    guard let named = GGUFPreTokenizer.named(name) else {
      throw .tokenizer(
        .unsupported, path, "tokenizer.ggml.pre",
        "\"\(name)\" is a pre-tokenizer that is not known",
        advice: "give token ids instead of text")
    }
    var steps: [PreTokenizerStep] = []
    for pattern in named.patterns {
      do throws(PatternProblem) {
        steps.append(.split(try Pattern(pattern), .isolated, inverted: false))
      } catch {
        throw .tokenizer(.unsupported, path, "tokenizer.ggml.pre", error.problem)
      }
    }
    let table = try table()
    var bytes = TokenTable(capacity: tokens.count)
    var pieces = TokenPieces(count: tokens.count)
    for id in tokens.indices {
      let text = String(decoding: tokens.bytes(at: id), as: UTF8.self)
      let spelled = ByteAlphabet.bytes(of: text.unicodeScalars)
      if let spelled { _ = bytes.insert(spelled, id: UInt32(id)) }
      let literal = isAdded(id) ? nil : spelled
      pieces.set(id, literal ?? Array(tokens.bytes(at: id)))
    }
    let model = BytePairModel(
      unit: .bytes, tokens: bytes, merges: try merges(table), ignoresMerges: named.ignoresMerges,
      byteTokens: [], unknown: nil, fusesUnknown: false, bareSymbols: [],
      firstBareSymbol: UInt32(tokens.count), cutsAtMarker: false)
    return try tokenizer(
      model, pieces, steps: steps, normalizers: [], addsBeginning: named.addsBeginning,
      defaults: (nil, nil))
  }

  private func sentencePiece() throws(RegateError) -> Tokenizer {
    guard let scores = metadata["tokenizer.ggml.scores"]?.floats, scores.count == tokens.count
    else {
      throw .tokenizer(
        .malformed, path, "tokenizer.ggml.scores",
        "must hold a number for each of the \(tokens.count) tokens")
    }
    guard scores.allSatisfy({ !$0.isNaN }) else {
      throw .tokenizer(.malformed, path, "tokenizer.ggml.scores", "holds a score that is no number")
    }
    let table = try table()
    var pieces = TokenPieces(count: tokens.count)
    for id in tokens.indices {
      let literal = Array(tokens.bytes(at: id))
      pieces.set(id, isAdded(id) ? literal : ByteToken.bytes(of: tokens[id]))
    }
    let unknown = try id("unknown_token_id") ?? (tokens.count > 0 ? 0 : nil)
    let byteTokens = ByteToken.names.map { table.id(of: $0.utf8) }
    let model = try ConcatenationMerges(table, unit: .characters, path: path)
      .model(
        ranks: ConcatenationMerges.ranks(scores), count: tokens.count, byteTokens: byteTokens,
        unknown: unknown.map { UInt32($0) }, ignoresMerges: false)
    let prefixed = metadata["tokenizer.ggml.add_space_prefix"]?.bool ?? true
    var normalizers: [Normalizer] = prefixed ? [.prepend([UInt8(ascii: " ")])] : []
    do throws(PatternProblem) {
      normalizers.append(.replace(try Pattern(literal: " "), with: BytePairModel.marker))
    } catch {
      throw .tokenizer(.unsupported, path, nil, error.problem)
    }
    return try tokenizer(
      model, pieces, steps: [], normalizers: normalizers, addsBeginning: true, defaults: (1, 2))
  }

  private func tokenizer(
    _ model: BytePairModel, _ pieces: TokenPieces, steps: [PreTokenizerStep],
    normalizers: [Normalizer], addsBeginning: Bool, defaults: (beginning: Int?, end: Int?)
  ) throws(RegateError) -> Tokenizer {
    let beginning = try id("bos_token_id") ?? defaults.beginning.flatMap { known($0) }
    let end = try id("eos_token_id") ?? defaults.end.flatMap { known($0) }
    return Tokenizer(
      path: path, vocabularySize: tokens.count, beginningID: beginning, endID: end,
      prefix: try wrap("add_bos_token", addsBeginning, beginning, "bos_token_id"),
      suffix: try wrap("add_eos_token", false, end, "eos_token_id"), model: model,
      added: AddedTokens(addedTokens()), addedAfterNormalization: AddedTokens([]),
      normalizers: normalizers, steps: steps, pieces: pieces)
  }

  // MARK: Parts

  private func isAdded(_ id: Int) -> Bool {
    guard id < types.count else { return false }
    return [TokenType.unknown, TokenType.control, TokenType.userDefined].contains(types[id])
  }

  private func addedTokens() -> [AddedToken] {
    tokens.indices.filter { isAdded($0) }.map {
      AddedToken(
        content: Array(tokens.bytes(at: $0)), id: UInt32($0),
        isSpecial: types[$0] != TokenType.userDefined)
    }
  }

  private func known(_ id: Int) -> Int? { id < tokens.count ? id : nil }

  private func id(_ name: String) throws(RegateError) -> Int? {
    let key = "tokenizer.ggml." + name
    guard let value = metadata[key] else { return nil }
    guard let id = value.integer, tokens.indices.contains(id) else {
      throw .tokenizer(
        .malformed, path, key, "must be the id of one of the \(tokens.count) tokens")
    }
    return id
  }

  private func wrap(
    _ name: String, _ fallback: Bool, _ id: Int?, _ idName: String
  ) throws(RegateError) -> [Int] {
    let key = "tokenizer.ggml." + name
    let value = metadata[key]
    guard let adds = value.map({ $0.bool }) ?? fallback else {
      throw .tokenizer(.malformed, path, key, "must be a bool")
    }
    guard adds else { return [] }
    guard let id else {
      throw .tokenizer(
        .missing, path, "tokenizer.ggml." + idName, "\(key) asks for a token that is not named")
    }
    return [id]
  }

  private func table() throws(RegateError) -> TokenTable {
    var table = TokenTable(capacity: tokens.count)
    for id in tokens.indices {
      let bytes = tokens.bytes(at: id)
      guard !bytes.isEmpty else { continue }
      guard table.insert(bytes, id: UInt32(id)) else {
        throw .tokenizer(
          .malformed, path, "tokenizer.ggml.tokens", "the token \"\(tokens[id])\" is there twice")
      }
    }
    return table
  }

  private func merges(_ table: TokenTable) throws(RegateError) -> MergeTable {
    let key = "tokenizer.ggml.merges"
    guard let merges = metadata[key]?.strings else {
      throw .tokenizer(.missing, path, key, "a byte-level vocabulary needs its merges")
    }
    var result = MergeTable(capacity: merges.count)
    for rank in merges.indices {
      let merge = merges.bytes(at: rank)
      // The first character belongs to the left token, even if it is a space.
      guard let space = merge.dropFirst().firstIndex(of: UInt8(ascii: " ")),
        let left = table.id(of: merge[..<space]),
        let right = table.id(of: merge[(space + 1)...]),
        let merged = table.id(of: Array(merge[..<space]) + Array(merge[(space + 1)...]))
      else {
        throw .tokenizer(
          .malformed, path, "\(key)[\(rank)]",
          "\"\(merges[rank])\" is not two tokens that make a third")
      }
      result.insert(left, right, rank: UInt32(rank), merged: merged, keep: .first)
    }
    return result
  }
}
