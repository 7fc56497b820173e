// SPDX-License-Identifier: Apache-2.0

/// A token that is found in the text itself, before anything else is done to it.
struct AddedToken: Sendable, Equatable {
  var content: [UInt8]
  var id: UInt32
  /// A control token; the others stand for text.
  var isSpecial = false
  /// Only where no word character touches it.
  var singleWord = false
  /// Takes the white space before it, after it.
  var stripsLeft = false
  var stripsRight = false
  /// Looked for in the normalized text.
  var isNormalized = false
}

/// Finds added tokens: at the leftmost place where one begins, the longest.
struct AddedTokens: Sendable {
  private var tokens: [AddedToken] = []
  private var indices: TokenTable
  /// For each first byte, the lengths of the tokens, longest first.
  private var lengths = [[Int]](repeating: [], count: 256)

  private static let words = ClassTable([.wordCharacters, .whitespace])

  var isEmpty: Bool { tokens.isEmpty }

  /// Of tokens with equal content the last counts.
  init(_ added: [AddedToken]) {
    indices = TokenTable(capacity: added.count)
    for token in added.reversed() where !token.content.isEmpty {
      guard indices.insert(token.content, id: UInt32(tokens.count)) else { continue }
      tokens.append(token)
      let first = Int(token.content[0])
      if !lengths[first].contains(token.content.count) {
        lengths[first].append(token.content.count)
      }
    }
    for first in lengths.indices { lengths[first].sort(by: >) }
  }

  /// The id of the token with this content.
  func id(of content: [UInt8]) -> Int? {
    indices.id(of: content).map { Int(tokens[Int($0)].id) }
  }

  /// A part of the text: an added token, or what lies between.
  enum Part {
    case token(UInt32)
    case text(Range<Int>)
  }

  /// Cuts `range` of `text`. Special tokens are taken as text where `special` is false.
  func cut(_ text: [UInt8], _ range: Range<Int>, special: Bool) -> [Part] {
    var parts: [Part] = []
    var done = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      guard let token = token(in: text, at: index, before: range.upperBound) else {
        index += 1
        continue
      }
      var match = index..<index + token.content.count
      index = match.upperBound
      if token.isSpecial, !special { continue }
      if token.singleWord, touchesWord(match, text, range) { continue }
      if token.stripsLeft { match = max(spaceBefore(match.lowerBound, text, range), done)..<index }
      if token.stripsRight { match = match.lowerBound..<spaceAfter(index, text, range) }
      if done < match.lowerBound { parts.append(.text(done..<match.lowerBound)) }
      parts.append(.token(token.id))
      done = match.upperBound
    }
    if done < range.upperBound { parts.append(.text(done..<range.upperBound)) }
    return parts
  }

  @inline(__always)
  private func token(in text: [UInt8], at index: Int, before end: Int) -> AddedToken? {
    for length in lengths[Int(text[index])] where index + length <= end {
      if let found = indices.id(of: text[index..<index + length]) { return tokens[Int(found)] }
    }
    return nil
  }

  private func touchesWord(_ match: Range<Int>, _ text: [UInt8], _ range: Range<Int>) -> Bool {
    if match.upperBound < range.upperBound,
      AddedTokens.words.scalar(in: text, at: match.upperBound).mask & 1 != 0
    {
      return true
    }
    guard match.lowerBound > range.lowerBound else { return false }
    return AddedTokens.words.scalar(in: text, at: start(before: match.lowerBound, text)).mask & 1
      != 0
  }

  private func start(before index: Int, _ text: [UInt8]) -> Int {
    var start = index - 1
    while text[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  private func spaceBefore(_ index: Int, _ text: [UInt8], _ range: Range<Int>) -> Int {
    var first = index
    while first > range.lowerBound {
      let before = start(before: first, text)
      guard AddedTokens.words.scalar(in: text, at: before).mask & 2 != 0 else { break }
      first = before
    }
    return first
  }

  private func spaceAfter(_ index: Int, _ text: [UInt8], _ range: Range<Int>) -> Int {
    var last = index
    while last < range.upperBound {
      let (mask, length) = AddedTokens.words.scalar(in: text, at: last)
      guard mask & 2 != 0 else { break }
      last += length
    }
    return last
  }
}
