// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Foundation
import OrderedCollections
import TestSupport
import TextTokens

/// What tools/fixtures/tokenizer_goldens.py wrote.
enum Goldens {
  static let folder = fixtures.appending(path: "tokenizers", directoryHint: .isDirectory)

  static func path(_ name: String) -> String {
    folder.appending(path: name).path(percentEncoded: false)
  }

  static func json(_ name: String) throws -> JSONValue { try JSONValue(contentsOf: path(name)) }

  static func texts() throws -> [String] {
    try (json("texts.json").arrayValue ?? []).compactMap(\.stringValue)
  }

  /// For each kind, a list of numbers for each text.
  static func lists(_ name: String) throws -> [String: [[Int]]] {
    var lists: [String: [[Int]]] = [:]
    for (kind, value) in try json(name).objectValue ?? [:] {
      lists[kind] = (value.arrayValue ?? []).map { ($0.arrayValue ?? []).compactMap(\.intValue) }
    }
    return lists
  }
}

/// A GGUF file with a vocabulary and nothing else.
struct VocabularyDraft {
  var model = "gpt2"
  var pre: String?
  var tokens: [String]
  var types: [Int32]?
  var merges: [String]?
  var scores: [Float]?
  var ids: [String: UInt32] = [:]
  var flags: [String: Bool] = [:]
  /// The model's name.
  var name: String?

  /// The 256 bytes, and what `extra` adds.
  static func bytes(_ extra: [String] = []) -> [String] {
    var next: UInt32 = 0x100
    let alphabet = (UInt32(0)...255).map { byte -> String in
      let printable = (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE
      defer { next += printable ? 0 : 1 }
      return String(Unicode.Scalar(printable ? byte : next).map { Character($0) } ?? "?")
    }
    return alphabet + extra
  }

  var keys: [[UInt8]] {
    func strings(_ values: [String]) -> [UInt8] {
      GGUFDraft.array(8, UInt64(values.count), values.flatMap { GGUFDraft.string($0) })
    }
    func pair(_ name: String, _ type: UInt32, _ value: [UInt8]) -> [UInt8] {
      GGUFDraft.pair("tokenizer.ggml." + name, type, value)
    }
    var keys = [pair("model", 8, GGUFDraft.string(model)), pair("tokens", 9, strings(tokens))]
    if let name { keys.append(GGUFDraft.pair("general.name", 8, GGUFDraft.string(name))) }
    if let pre { keys.append(pair("pre", 8, GGUFDraft.string(pre))) }
    if let merges { keys.append(pair("merges", 9, strings(merges))) }
    if let types {
      let values = types.flatMap { GGUFDraft.number($0) }
      keys.append(pair("token_type", 9, GGUFDraft.array(5, UInt64(types.count), values)))
    }
    if let scores {
      let values = scores.flatMap { GGUFDraft.number($0.bitPattern) }
      keys.append(pair("scores", 9, GGUFDraft.array(6, UInt64(scores.count), values)))
    }
    for (name, id) in ids.sorted(by: { $0.key < $1.key }) {
      keys.append(pair(name, 4, GGUFDraft.number(id)))
    }
    for (name, flag) in flags.sorted(by: { $0.key < $1.key }) {
      keys.append(pair(name, 7, [flag ? 1 : 0]))
    }
    return keys
  }

  func tokenizer() throws -> Tokenizer {
    let directory = try TemporaryDirectory()
    let path = try directory.write(GGUFDraft(keys: keys).bytes, to: "vocabulary.gguf")
    return try Tokenizer(GGUFCheckpoint(path: path))
  }
}
