// SPDX-License-Identifier: Apache-2.0

import Checkpoints

/// A model's tokenizer: text to token ids, as Python's `tokenizers` and llama.cpp make them.
///
/// 1. Added tokens are found in the text; what lies between goes through the rest.
/// 2. The text is normalized, and added tokens that ask for it are found in the result.
/// 3. It is cut into pieces, and byte-pair encoding turns each piece into tokens.
/// 4. Tokens that begin or end a document are put around the whole.
package struct Tokenizer: Sendable {
  /// The file it was read from.
  package let path: String
  /// One more than the largest token id.
  package let vocabularySize: Int
  /// The token that begins a document, where the tokenizer names one.
  package internal(set) var beginningID: Int?
  /// The token that ends a document, where the tokenizer names one.
  package internal(set) var endID: Int?
  /// What `encode` puts before a document.
  package internal(set) var prefix: [Int]
  /// What `encode` puts after a document.
  package internal(set) var suffix: [Int]

  let model: BytePairModel
  let added: AddedTokens
  let addedAfterNormalization: AddedTokens
  let normalizers: [Normalizer]
  let steps: [PreTokenizerStep]
  let pieces: TokenPieces
  /// What in the files is not as they say, a sentence for each.
  package internal(set) var notes: [String] = []

  /// The token ids of one document. Added tokens in it are recognised; `special: false` takes
  /// control tokens as plain text.
  package func encode(_ text: String, addSpecial: Bool, special: Bool = true) -> [Int] {
    encode(Array(text.utf8), addSpecial: addSpecial, special: special)
  }

  /// The token ids of one document, which must be valid UTF-8.
  package func encode(_ text: [UInt8], addSpecial: Bool, special: Bool = true) -> [Int] {
    var encoder = DocumentEncoder(self, expecting: text.count)
    return encoder.encode(text, addSpecial: addSpecial, special: special)
  }

  /// The bytes that a token stands for, or nil where no token has this id. Control tokens stand
  /// for their own names.
  package func bytes(of id: Int) -> [UInt8]? { pieces.bytes(of: id) }

  /// The text that `ids` stand for, with replacement characters where it is not UTF-8. Ids without
  /// a token are left out.
  package func decode(_ ids: [Int]) -> String {
    String(decoding: ids.flatMap { bytes(of: $0) ?? [] }, as: UTF8.self)
  }
}

extension Tokenizer {
  /// The pieces into which the text between added tokens is cut before byte-pair encoding.
  package func pieces(of text: String) -> [String] {
    let bytes = Array(text.utf8)
    let normal = normalizers.reduce(bytes) { $1.apply($0) }
    var preTokenizer = PreTokenizer(steps)
    var pieces: [String] = []
    preTokenizer.cut(normal, 0..<normal.count, first: true) { (text, piece) in
      pieces.append(String(decoding: text[piece], as: UTF8.self))
    }
    return pieces
  }
}

/// Encodes documents one after the other with what it learned from those before.
package struct DocumentEncoder {
  private let tokenizer: Tokenizer
  private var preTokenizer: PreTokenizer
  private var encoder: BytePairEncoder

  private static let mostSlots = 1 << 16

  /// An encoder for documents of about `expecting` bytes in all.
  package init(_ tokenizer: Tokenizer, expecting bytes: Int = .max) {
    self.tokenizer = tokenizer
    preTokenizer = PreTokenizer(tokenizer.steps)
    var slots = 64
    while slots < DocumentEncoder.mostSlots, slots < bytes / 8 { slots *= 2 }
    encoder = BytePairEncoder(tokenizer.model, cacheSlots: slots)
  }

  /// The token ids of one document, which must be valid UTF-8.
  package mutating func encode(
    _ text: [UInt8], addSpecial: Bool, special: Bool = true
  ) -> [Int] {
    precondition(firstInvalidUTF8(in: text) == nil, "text that is not valid UTF-8")
    var ids = addSpecial ? tokenizer.prefix : []
    for part in tokenizer.added.cut(text, 0..<text.count, special: special) {
      switch part {
      case .token(let id): ids.append(Int(id))
      case .text(let range):
        encodeText(text, range, first: range.lowerBound == 0, special: special, into: &ids)
      }
    }
    if addSpecial { ids += tokenizer.suffix }
    return ids
  }

  private mutating func encodeText(
    _ text: [UInt8], _ range: Range<Int>, first: Bool, special: Bool, into ids: inout [Int]
  ) {
    if tokenizer.normalizers.isEmpty, tokenizer.addedAfterNormalization.isEmpty {
      return encodePieces(text, range, first: first, into: &ids)
    }
    let normal = tokenizer.normalizers.reduce(Array(text[range])) { $1.apply($0) }
    let parts = tokenizer.addedAfterNormalization.cut(normal, 0..<normal.count, special: special)
    for part in parts {
      switch part {
      case .token(let id): ids.append(Int(id))
      case .text(let range):
        encodePieces(normal, range, first: first && range.lowerBound == 0, into: &ids)
      }
    }
  }

  private mutating func encodePieces(
    _ text: [UInt8], _ range: Range<Int>, first: Bool, into ids: inout [Int]
  ) {
    preTokenizer.cut(text, range, first: first) { (text, piece) in
      encoder.encode(text, piece, into: &ids)
    }
  }
}
