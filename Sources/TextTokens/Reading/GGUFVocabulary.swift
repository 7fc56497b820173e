// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections

// The vocabulary in a GGUF file, as llama.cpp (ggml 0.25) uses it.
//
// 1. `tokenizer.ggml.model`: "gpt2" (with `tokenizer.ggml.merges` and the pre-tokenizer that
//    `tokenizer.ggml.pre` names), "gemma4" (the same with that pre-tokenizer) or "llama"
//    (SentencePiece: merges by `tokenizer.ggml.scores`, byte tokens, a space before the text unless
//    `tokenizer.ggml.add_space_prefix` is false).
// 2. `tokenizer.ggml.tokens`: the tokens by id. `tokenizer.ggml.token_type`: 1 normal, 2 unknown,
//    3 control, 4 user-defined, 5 unused, 6 byte. Types 2, 3 and 4 are found in the text itself,
//    and some others by their text.
// 3. `tokenizer.ggml.bos_token_id`, `eos_token_id`, `unknown_token_id`, `add_bos_token`,
//    `add_eos_token`. An id beyond the vocabulary counts for nothing.

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
    if let types, types.integers.map({ $0.count < tokens.count }) ?? true {
      throw .tokenizer(
        .malformed, path, "tokenizer.ggml.token_type",
        "must hold an integer for each of the \(tokens.count) tokens")
    }
    self.types = types?.integers ?? []
  }

  func tokenizer() throws(RegateError) -> Tokenizer {
    let key = "tokenizer.ggml.model"
    switch metadata[key]?.string {
    case "gpt2":
      return try bytePairs(metadata["tokenizer.ggml.pre"]?.string ?? "default")
    case "gemma4": return try bytePairs("gemma4")
    case "llama": return try sentencePiece()
    case let other:
      throw .tokenizer(
        .unsupported, path, key,
        "is \(other.map { "\"\($0)\"" } ?? "missing"); only \"gpt2\", \"gemma4\" and"
          + " \"llama\" are supported",
        advice: "give token ids instead of text")
    }
  }

  // MARK: The two kinds

  private func bytePairs(_ name: String) throws(RegateError) -> Tokenizer {
    guard let named = GGUFPreTokenizer.named(name) else {
      throw .tokenizer(
        .unsupported, path, "tokenizer.ggml.pre",
        "\"\(name)\" is a pre-tokenizer that is not known",
        advice: "give token ids instead of text")
    }
    let steps: [PreTokenizerStep]
    do throws(PatternProblem) {
      steps = try named.steps()
    } catch {
      throw .tokenizer(.unsupported, path, "tokenizer.ggml.pre", error.problem)
    }
    let key = "tokenizer.ggml.merges"
    guard let merges = metadata[key]?.strings else {
      throw .tokenizer(.missing, path, key, "a byte-pair vocabulary needs its merges")
    }
    let spelled = SpelledVocabulary(try table(), as: named.spelling)
    return try tokenizer(
      spelled.model(
        GGUFMerges(merges, tokens: spelled.texts, count: tokens.count),
        wholePieces: named.wholePieces),
      pieces { spelled.bytes(of: $0) }, steps: steps,
      normalizers: named.spelling == .marked ? [try markedSpaces()] : [],
      addsBeginning: named.addsBeginning, requiresBeginning: named.requiresBeginning,
      defaults: (named.controlToken, named.controlToken))
  }

  private func sentencePiece() throws(RegateError) -> Tokenizer {
    let scores = try scores()
    let table = try table()
    let unknown = try id("unknown_token_id", default: 0)
    let byteTokens = ByteToken.names.map { table.id(of: $0.utf8) }
    let model = try ConcatenationMerges(table, unit: .characters, path: path)
      .model(
        ranks: ConcatenationMerges.ranks(scores), count: tokens.count, byteTokens: byteTokens,
        unknown: unknown.map { UInt32($0) }, wholePieces: .none)
    let prefixed = metadata["tokenizer.ggml.add_space_prefix"]?.bool ?? true
    let prefix: [Normalizer] = prefixed ? [.prepend([UInt8(ascii: " ")])] : []
    return try tokenizer(
      model, pieces { ByteToken.bytes(of: $0) }, steps: [],
      normalizers: prefix + [try markedSpaces()], addsBeginning: true, defaults: (1, 2))
  }

  private func tokenizer(
    _ model: BytePairModel, _ pieces: TokenPieces, steps: [PreTokenizerStep],
    normalizers: [Normalizer], addsBeginning: Bool, requiresBeginning: Bool = false,
    defaults: (beginning: Int?, end: Int?)
  ) throws(RegateError) -> Tokenizer {
    let beginning = try id("bos_token_id", default: defaults.beginning)
    let end = try id("eos_token_id", default: defaults.end)
    let added = addedTokens()
    return Tokenizer(
      path: path, vocabularySize: tokens.count, beginningID: beginning, endID: end,
      prefix: try wrap(
        "add_bos_token", addsBeginning, required: requiresBeginning, beginning, "bos_token_id"),
      suffix: try wrap("add_eos_token", false, end, "eos_token_id"), model: model,
      added: AddedTokens(added), addedAfterNormalization: AddedTokens([]),
      normalizers: normalizers, steps: steps, pieces: pieces)
  }

  // MARK: Parts

  /// The bytes of all tokens: those that are found in the text stand for their names.
  private func pieces(_ bytes: (String) -> [UInt8]?) -> TokenPieces {
    var pieces = TokenPieces(count: tokens.count)
    for id in tokens.indices {
      let literal = Array(tokens.bytes(at: id))
      pieces.set(id, isAdded(id) ? literal : bytes(tokens[id]) ?? literal)
    }
    return pieces
  }

  private func markedSpaces() throws(RegateError) -> Normalizer {
    do throws(PatternProblem) {
      return .replace(try Pattern(literal: " "), with: BytePairModel.marker)
    } catch {
      throw .tokenizer(.unsupported, path, nil, error.problem)
    }
  }

  /// A number for each token; equal ones where the file has none.
  private func scores() throws(RegateError) -> [Double] {
    guard let value = metadata["tokenizer.ggml.scores"] else {
      return [Double](repeating: 0, count: tokens.count)
    }
    guard let scores = value.floats ?? value.integers?.map({ Double($0) }),
      scores.count >= tokens.count
    else {
      throw .tokenizer(
        .malformed, path, "tokenizer.ggml.scores",
        "must hold a number for each of the \(tokens.count) tokens")
    }
    guard scores.allSatisfy({ !$0.isNaN }) else {
      throw .tokenizer(.malformed, path, "tokenizer.ggml.scores", "holds a score that is no number")
    }
    return Array(scores.prefix(tokens.count))
  }

  private func isAdded(_ id: Int) -> Bool {
    guard id < types.count else { return false }
    return [TokenType.unknown, TokenType.control, TokenType.userDefined].contains(types[id])
  }

  /// The tokens that are found in the text itself, by their type or by their text.
  private func addedTokens() -> [AddedToken] {
    let texts = tokens.indices.map { tokens[$0] }
    let control = GGUFControlTokens(
      texts, model: metadata["general.name"]?.string ?? "",
      preTokenizer: metadata["tokenizer.ggml.pre"]?.string ?? "")
    return texts.enumerated().compactMap { (id, text) in
      let isUserDefined = id < types.count && types[id] == TokenType.userDefined
      return control.token(
        text, id: id, stored: isAdded(id) ? isUserDefined ? .userDefined : .control : .normal)
    }
  }

  /// The id that `name` gives; `fallback` where there is none or the vocabulary ends before it.
  private func id(_ name: String, default fallback: Int?) throws(RegateError) -> Int? {
    let known = fallback.flatMap { tokens.indices.contains($0) ? $0 : nil }
    let key = "tokenizer.ggml." + name
    guard let value = metadata[key] else { return known }
    guard let id = value.integer else {
      throw .tokenizer(.malformed, path, key, "is \(value.typeName), must be an integer")
    }
    return tokens.indices.contains(id) ? id : known
  }

  private func wrap(
    _ name: String, _ fallback: Bool, required: Bool = false, _ id: Int?, _ idName: String
  ) throws(RegateError) -> [Int] {
    let key = "tokenizer.ggml." + name
    let value = metadata[key]
    guard let adds = value.map({ $0.bool }) ?? fallback else {
      throw .tokenizer(.malformed, path, key, "must be a bool")
    }
    guard adds || required else { return [] }
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
}
