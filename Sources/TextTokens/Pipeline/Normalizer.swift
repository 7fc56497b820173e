// SPDX-License-Identifier: Apache-2.0

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

  /// How many times as long it makes a text at most, beside what comes once.
  var growth: Int {
    switch self {
    case .prepend: 1
    case .replace(_, let content): min(max(content.count, 1), 1 << 20)
    // UAX 15, of the canonical forms in UTF-8.
    case .unicode: 3
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
