// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// The added tokens of a vocabulary with the ids that Python's tokenizers give them: whatever id a
/// file declares, a token that is known keeps its id, and a new one gets the next.
struct AddedVocabulary {
  private(set) var tokens: [AddedToken] = []
  /// Tokens that have another id than the one declared for them.
  private(set) var moved: [(token: AddedToken, declared: Int)] = []
  private let vocabulary: TokenTable
  private var places: TokenTable
  private var next: UInt32

  init(beside vocabulary: TokenTable) {
    self.vocabulary = vocabulary
    places = TokenTable(capacity: 16)
    next = UInt32(vocabulary.count)
  }

  func contains(_ content: [UInt8]) -> Bool { places.id(of: content) != nil }

  /// Adds `token`, or gives the one of this content its properties.
  mutating func add(_ token: AddedToken, declared: Int?) {
    guard !token.content.isEmpty else { return }
    var token = token
    if let place = places.id(of: token.content) {
      token.id = tokens[Int(place)].id
      tokens[Int(place)] = token
    } else {
      token.id = vocabulary.id(of: token.content) ?? next
      _ = places.insert(token.content, id: UInt32(tokens.count))
      tokens.append(token)
      next = max(next, token.id + 1)
    }
    if let declared, declared != Int(token.id) { moved.append((token, declared)) }
  }

  /// A sentence about the tokens that are not where `file` declares them.
  func note(on file: String) -> [String] {
    guard let first = moved.first else { return [] }
    let others = moved.count == 1 ? "" : " (and \(moved.count - 1) more have other ids)"
    let name = String(decoding: first.token.content, as: UTF8.self)
    return [
      "\(file): the token \"\(name)\" is declared with the id \(first.declared), but transformers"
        + " gives it \(first.token.id)\(others)"
    ]
  }
}
