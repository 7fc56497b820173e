// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What is done to text before it is cut up.
enum Normalizer: Sendable {
  case prepend([UInt8])
  case replace(Pattern, with: [UInt8])
  case unicode(NormalizationForm)

  func apply(_ text: [UInt8]) -> [UInt8] {
    switch self {
    case .prepend(let prefix): text.isEmpty ? text : prefix + text
    case .replace(let pattern, let content): Normalizer.replace(pattern, content, in: text)
    case .unicode(let form): form.apply(text)
    }
  }

  private static func replace(_ pattern: Pattern, _ content: [UInt8], in text: [UInt8]) -> [UInt8] {
    var matcher = PatternMatcher(pattern)
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var start = 0
    while let match = matcher.next(in: text, range: 0..<text.count, from: start) {
      result += text[start..<match.lowerBound]
      result += content
      start = match.upperBound
    }
    result += text[start...]
    return result
  }
}

/// The Unicode normalization forms (UAX #15).
enum NormalizationForm: String, Sendable {
  case nfc = "NFC"
  case nfd = "NFD"
  case nfkc = "NFKC"
  case nfkd = "NFKD"

  func apply(_ text: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    var copied = 0
    var index = 0
    var previous = 0
    while index < text.count {
      let (stable, length) = isStable(text, at: index)
      guard !stable else {
        previous = index
        index += length
        continue
      }
      // What is not stable may compose with the character before it.
      result += text[copied..<previous]
      var end = index + length
      while end < text.count {
        let (stable, length) = isStable(text, at: end)
        if stable { break }
        end += length
      }
      result += normalized(String(decoding: text[previous..<end], as: UTF8.self)).utf8
      copied = end
      previous = end
      index = end
    }
    result += text[copied...]
    return result
  }

  private func normalized(_ text: String) -> String {
    switch self {
    case .nfc: text.precomposedStringWithCanonicalMapping
    case .nfd: text.decomposedStringWithCanonicalMapping
    case .nfkc: text.precomposedStringWithCompatibilityMapping
    case .nfkd: text.decomposedStringWithCompatibilityMapping
    }
  }

  /// Characters that are in every form as they are, and never compose with what precedes them.
  private static let ascii = ScalarSet([0...0x7F])
  /// The same for NFC, a part: Latin, Cyrillic, Hebrew and Arabic letters, punctuation, kana,
  /// ideographs and Hangul syllables. Covers most text; the rest takes the slow way.
  static let stableComposed = ScalarSet([
    0...0x2FF, 0x400...0x482, 0x5D0...0x5EA, 0x621...0x64A, 0x2010...0x2027, 0x2190...0x2328,
    0x2460...0x2ADB, 0x3001...0x3029, 0x3041...0x3096, 0x309B...0xA48C, 0xAC00...0xD7A3,
    0xFF01...0xFFDC, 0x1F300...0x1FAFF, 0x20000...0x2A6DF,
  ])
  private static let table = ClassTable([ascii, stableComposed])

  private func isStable(_ text: [UInt8], at index: Int) -> (Bool, length: Int) {
    let (mask, length) = NormalizationForm.table.scalar(in: text, at: index)
    return (mask >> (self == .nfc ? 1 : 0) & 1 == 1, length)
  }
}
