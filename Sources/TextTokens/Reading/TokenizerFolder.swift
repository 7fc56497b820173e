// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Foundation

/// The files of a model's folder that a tokenizer is read from.
struct TokenizerFolder {
  let path: String
  private let settings: LenientJSON?
  private var config: JSONValue? { settings?.value }

  init(_ path: String) throws(RegateError) {
    self.path = path
    settings = try TokenizerFolder.json("tokenizer_config.json", in: path)
  }

  /// The tokenizer, with the ids of what begins and ends a document.
  func tokenizer() throws(RegateError) -> Tokenizer {
    if let json = file("tokenizer.json") {
      let declared = try declared()
      return try TokenizerJSON(path: json).tokenizer(declared).naming(declared)
    }
    if let vocabulary = file("vocab.json"), let merges = file("merges.txt") {
      let kind = try VocabularyKind(
        config: config, model: try json("config.json")?.value, vocabulary: vocabulary)
      let declared = try declared(kind.defaults)
      return try VocabularyFiles(vocabulary: vocabulary, merges: merges)
        .tokenizer(kind, declared).naming(declared)
    }
    if let tekken = file("tekken.json") {
      return try TekkenFile(path: tekken).tokenizer().naming(
        DeclaredTokens(config: ["bos_token": "<s>", "eos_token": "</s>"], map: nil, added: nil))
    }
    if let tiktoken = file("tiktoken.model") {
      return try TiktokenFile(path: tiktoken).tokenizer(config: config).naming(try declared())
    }
    throw RegateError(
      .missing, file: path, subject: "tokenizer.json",
      file("tokenizer.model") == nil
        ? "the folder has no tokenizer" : "there is only a tokenizer.model, which is not read",
      advice: "fetch the model's tokenizer.json, or give token ids instead of text")
  }

  private func declared(_ defaults: [String: String] = [:]) throws(RegateError) -> DeclaredTokens {
    let (map, added) = (try json("special_tokens_map.json"), try json("added_tokens.json"))
    var declared = DeclaredTokens(
      config: config, map: map?.value, added: added?.value, defaults: defaults)
    declared.notes = [settings, map, added].compactMap { $0?.warning }
    return declared
  }

  private func json(_ name: String) throws(RegateError) -> LenientJSON? {
    try TokenizerFolder.json(name, in: path)
  }

  private static func json(
    _ name: String, in folder: String
  ) throws(RegateError) -> LenientJSON? {
    guard let path = file(name, in: folder) else { return nil }
    return try LenientJSON(contentsOf: path)
  }

  private func file(_ name: String) -> String? { TokenizerFolder.file(name, in: path) }

  private static func file(_ name: String, in folder: String) -> String? {
    let path = URL(filePath: folder, directoryHint: .isDirectory).appending(path: name)
      .path(percentEncoded: false)
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }
}

extension Tokenizer {
  /// With the tokens that begin and end a document, as `declared` names them, and its notes.
  fileprivate func naming(_ declared: DeclaredTokens) -> Tokenizer {
    var tokenizer = self
    tokenizer.beginningID = declared.text(of: "bos_token").flatMap { id(of: $0) }
    tokenizer.endID = declared.text(of: "eos_token").flatMap { id(of: $0) }
    tokenizer.notes += declared.notes
    return tokenizer
  }
}
