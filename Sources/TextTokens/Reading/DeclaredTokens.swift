// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import OrderedCollections

// Tokens that stand in files beside the vocabulary, as transformers 5 takes them up.
//
// 1. tokenizer_config.json, "added_tokens_decoder": {id: token}, by ascending id. Without it,
//    added_tokens.json: {text: id}, and what special_tokens_map.json says goes before the same keys
//    of tokenizer_config.json.
// 2. Names: "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
//    "mask_token", then any other "..._token".
// 3. "extra_special_tokens", or else "additional_special_tokens".
//
// A token is text, or an object with "content", "special", "normalized", "single_word", "lstrip"
// and "rstrip". Named ones are control tokens.

/// The declarations beside a vocabulary.
struct DeclaredTokens {
  private static let names = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// By ascending id.
  private(set) var numbered: [(id: Int, token: AddedToken)] = []
  /// In the order in which they are added.
  private(set) var named: [AddedToken] = []
  /// What is odd about the files, a sentence for each.
  var notes: [String] = []
  /// The members of tokenizer_config.json, under those of special_tokens_map.json where it counts.
  private let settings: JSONValue
  /// Control tokens are plain text.
  var splitsSpecial: Bool { settings["split_special_tokens"]?.boolValue ?? false }

  /// `defaults` are the names that the tokenizer's class has without files.
  init(
    config: JSONValue?, map: JSONValue?, added: JSONValue?, defaults: [String: String] = [:]
  ) {
    var settings: JSONValue = [:]
    for (name, text) in defaults { settings[name] = .string(text) }
    for (key, value) in config?.objectValue ?? [:] { settings[key] = value }
    let decoder = settings["added_tokens_decoder"]
    if decoder == nil {
      for (key, value) in map?.objectValue ?? [:] { settings[key] = value }
    }
    self.settings = settings
    for (key, value) in decoder?.objectValue ?? [:] {
      if let id = Int(key), let token = DeclaredTokens.token(value) { numbered.append((id, token)) }
    }
    readNames()
    if decoder == nil {
      let special = Set(named.map(\.content))
      for (text, id) in added?.objectValue ?? [:] {
        guard let id = id.intValue else { continue }
        let content = Array(text.utf8)
        let isSpecial = special.contains(content)
        numbered.append(
          (id, AddedToken(content: content, id: 0, isSpecial: isSpecial, isNormalized: !isSpecial)))
      }
    }
    numbered.sort { $0.id < $1.id }
  }

  /// The text of the token of this name.
  func text(of name: String) -> String? {
    guard let value = settings[name] else { return nil }
    return value.stringValue ?? value["content"]?.stringValue
  }

  /// A setting of the tokenizer that is true or false.
  func flag(_ name: String) -> Bool { settings[name]?.boolValue ?? false }

  /// Adds all to `vocabulary`, which has the tokens of tokenizer.json itself.
  func add(to vocabulary: inout AddedVocabulary) {
    let own = Set(vocabulary.tokens.map { Int($0.id) })
    let nameTexts = Set(named.map(\.content))
    let isDecoder = settings["added_tokens_decoder"] != nil
    // A file of an older version does not change what tokenizer.json declares under the same id.
    for (id, token) in numbered where isDecoder || !own.contains(id) {
      var token = token
      if nameTexts.contains(token.content) { token.isSpecial = true }
      vocabulary.add(token, declared: id)
    }
    for token in named where !vocabulary.contains(token.content) {
      vocabulary.add(token, declared: nil)
    }
  }

  private mutating func readNames() {
    let members = settings.objectValue ?? [:]
    let others = members.keys.filter {
      $0.hasSuffix("_token") && !DeclaredTokens.names.contains($0)
    }
    var values = (DeclaredTokens.names + others).compactMap { members[$0] }
    switch members["extra_special_tokens"] {
    case .object(let tokens)?: values += tokens.values
    case .array(let tokens)? where !tokens.isEmpty: values += tokens
    default: values += members["additional_special_tokens"]?.arrayValue ?? []
    }
    named = values.compactMap { DeclaredTokens.token($0, named: true) }
  }

  /// A token as text, or as an object; nil where it is neither.
  static func token(_ value: JSONValue, named: Bool = false) -> AddedToken? {
    if let text = value.stringValue {
      return AddedToken(content: Array(text.utf8), id: 0, isSpecial: named, isNormalized: !named)
    }
    guard let text = value["content"]?.stringValue else { return nil }
    let isSpecial = value["special"]?.boolValue ?? named
    return AddedToken(
      content: Array(text.utf8), id: 0, isSpecial: isSpecial,
      singleWord: value["single_word"]?.boolValue ?? false,
      stripsLeft: value["lstrip"]?.boolValue ?? false,
      stripsRight: value["rstrip"]?.boolValue ?? false,
      isNormalized: value["normalized"]?.boolValue ?? !isSpecial)
  }
}
