// SPDX-License-Identifier: Apache-2.0

import ByteStorage

// The regular expressions of pre-tokenizers: the subset of Oniguruma's syntax (which Python's
// tokenizers use) that published tokenizers contain, with the same meaning.
//
// 1. Alternatives `a|b`, the first that matches wins; groups `(...)`, `(?:...)`, `(?i:...)`.
// 2. Repetition `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`, greedy; `*+`, `++`, `?+` possessive.
// 3. Classes `[...]`, `[^...]`, nested, with ranges, `&&`; `.`, `\s`, `\S`, `\d`, `\D`, `\p{..}`,
//    `\P{..}`, `\p{^..}`.
// 4. `(?=...)`, `(?!...)`; `^` and `$` at lines, `\A` and `\z` at the text.
// 5. Escapes `\n`, `\r`, `\t`, `\f`, `\v`, `\xHH`, `\x{H..}`, `\uHHHH`, and before punctuation.
//
// Case is ignored for ASCII letters only, with what folds to them. Everything else is refused.

/// A parsed pattern.
indirect enum PatternNode: Hashable, Sendable {
  case set(ScalarSet)
  case sequence([PatternNode])
  case alternatives([PatternNode])
  case repeated(PatternNode, least: Int, most: Int?, possessive: Bool)
  case look(PatternNode, negative: Bool)
  case anchor(PatternAnchor)

  /// Whether it can match without taking a character.
  var matchesEmpty: Bool {
    switch self {
    case .set: false
    case .sequence(let nodes): nodes.allSatisfy(\.matchesEmpty)
    case .alternatives(let nodes): nodes.contains(where: \.matchesEmpty)
    case .repeated(let node, let least, _, _): least == 0 || node.matchesEmpty
    case .look, .anchor: true
    }
  }
}

enum PatternAnchor: Hashable, Sendable { case lineStart, lineEnd, textStart, textEnd }

/// Why a pattern cannot be used; the reader of the file adds where it stands.
struct PatternProblem: Error {
  let problem: String
}

/// Reads a pattern.
struct PatternParser {
  /// No published pattern repeats a group that often; keeps programs small.
  static let repetitionLimit = 1024
  /// Bounds recursion.
  static let depthLimit = 32

  var scalars: [Unicode.Scalar]
  var position = 0
  var ignoresCase = false
  var depth = 0
  private var isLookingAhead = false

  static func parse(_ pattern: String) throws(PatternProblem) -> PatternNode {
    var parser = PatternParser(scalars: Array(pattern.unicodeScalars))
    let node = try parser.alternatives()
    guard parser.position == parser.scalars.count else {
      throw parser.problem("has a ')' that closes nothing")
    }
    return node
  }

  func problem(_ text: String) -> PatternProblem {
    PatternProblem(problem: "the pattern \(text) (character \(position + 1))")
  }

  func peek(_ offset: Int = 0) -> Unicode.Scalar? {
    position + offset < scalars.count ? scalars[position + offset] : nil
  }

  mutating func take(_ text: String) -> Bool {
    let wanted = Array(text.unicodeScalars)
    guard scalars[position...].starts(with: wanted) else { return false }
    position += wanted.count
    return true
  }

  private mutating func alternatives() throws(PatternProblem) -> PatternNode {
    var found: [PatternNode] = [try sequence()]
    while take("|") { found.append(try sequence()) }
    return found.count == 1 ? found[0] : .alternatives(found)
  }

  private mutating func sequence() throws(PatternProblem) -> PatternNode {
    var nodes: [PatternNode] = []
    while let next = peek(), next != "|", next != ")" {
      let atom = try atom()
      nodes.append(try repetition(of: atom))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  private mutating func atom() throws(PatternProblem) -> PatternNode {
    guard let next = peek() else { throw problem("ends too early") }
    switch next {
    case "(": return try group()
    case "[":
      position += 1
      return .set(try characterClass())
    case "\\": return try escape()
    case ".":
      position += 1
      return .set(ScalarSet("\n").inverted)
    case "^":
      position += 1
      return .anchor(.lineStart)
    case "$":
      position += 1
      return .anchor(.lineEnd)
    case "*", "+", "?", "{": throw problem("repeats nothing with '\(next)'")
    default:
      position += 1
      return .set(try literal(next))
    }
  }

  /// The set of one character, with its other case where case is ignored.
  func literal(_ scalar: Unicode.Scalar) throws(PatternProblem) -> ScalarSet {
    guard ignoresCase else { return ScalarSet(scalar) }
    guard scalar.isASCII || !scalar.properties.isCased else {
      throw problem("ignores the case of '\(scalar)', which only ASCII letters may ask for")
    }
    return ScalarSet(scalar).foldingASCII
  }

  private mutating func group() throws(PatternProblem) -> PatternNode {
    guard depth < PatternParser.depthLimit else { throw problem("is nested too deep") }
    let outer = ignoresCase
    var look: Bool?
    if take("(?:") {
    } else if take("(?i:") {
      ignoresCase = true
    } else if take("(?=") {
      look = false
    } else if take("(?!") {
      look = true
    } else if peek(1) == "?" {
      throw problem("has a group of an unsupported kind")
    } else {
      position += 1
    }
    // Each would be gone through anew at every step of the one around it.
    guard look == nil || !isLookingAhead else { throw problem("has a look-ahead in a look-ahead") }
    isLookingAhead = isLookingAhead || look != nil
    depth += 1
    let node = try alternatives()
    depth -= 1
    if look != nil { isLookingAhead = false }
    guard take(")") else { throw problem("has a '(' that is never closed") }
    ignoresCase = outer
    return look.map { .look(node, negative: $0) } ?? node
  }

  private mutating func repetition(of node: PatternNode) throws(PatternProblem) -> PatternNode {
    let least: Int
    let most: Int?
    var braces = false
    switch peek() {
    case "*": (least, most) = (0, nil)
    case "+": (least, most) = (1, nil)
    case "?": (least, most) = (0, 1)
    case "{":
      braces = true
      (least, most) = try bounds()
    default: return node
    }
    if !braces { position += 1 }
    if peek() == "?" { throw problem("has a lazy repetition, which is not supported") }
    let possessive = !braces && take("+")
    if let next = peek(), ["*", "+", "?", "{"].contains(next) {
      throw problem("repeats a repetition")
    }
    if case .look = node { throw problem("repeats a look-ahead") }
    if case .anchor = node { throw problem("repeats an anchor") }
    return .repeated(node, least: least, most: most, possessive: possessive)
  }

  /// `{n}`, `{n,}` or `{n,m}`.
  private mutating func bounds() throws(PatternProblem) -> (Int, Int?) {
    guard let close = scalars[position...].firstIndex(of: "}") else {
      throw problem("has a '{' that is never closed")
    }
    let parts = scalars[position + 1..<close].split(
      separator: ",", omittingEmptySubsequences: false)
    let numbers = parts.map { Int(String(String.UnicodeScalarView($0))) }
    guard let first = numbers[0], numbers.count <= 2, first >= 0 else {
      throw problem("has braces that are not {n}, {n,} or {n,m}")
    }
    position = close + 1
    if numbers.count == 1 {
      guard first <= PatternParser.repetitionLimit else { throw problem("repeats too often") }
      return (first, first)
    }
    if parts[1].isEmpty {
      guard first <= PatternParser.repetitionLimit else { throw problem("repeats too often") }
      return (first, nil)
    }
    guard let second = numbers[1], second >= first, second <= PatternParser.repetitionLimit else {
      throw problem("has bounds of a repetition that make no sense or are too large")
    }
    return (first, second)
  }
}
