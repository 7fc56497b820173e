// SPDX-License-Identifier: Apache-2.0

extension PatternParser {
  /// What follows a backslash outside brackets.
  mutating func escape() throws(PatternProblem) -> PatternNode {
    if take(#"\A"#) { return .anchor(.textStart) }
    if take(#"\z"#) { return .anchor(.textEnd) }
    if let set = try classEscape() { return .set(set) }
    return .set(try literal(try characterEscape()))
  }

  /// The rest of `[...]` after its opening bracket.
  mutating func characterClass() throws(PatternProblem) -> ScalarSet {
    guard depth < PatternParser.depthLimit else { throw problem("is nested too deep") }
    depth += 1
    defer { depth -= 1 }
    let negated = take("^")
    var operands: [ScalarSet] = []
    var ranges: [ClosedRange<UInt32>] = []
    var empty = true
    while true {
      guard let next = peek() else { throw problem("has a '[' that is never closed") }
      if next == "]", !empty { break }
      if take("&&") {
        operands.append(ScalarSet(ranges))
        ranges = []
      } else if next == "[" {
        if peek(1) == ":" { throw problem("has a POSIX bracket, which is not supported") }
        position += 1
        ranges += try characterClass().ranges
      } else if next == "\\", let set = try classEscape() {
        ranges += set.ranges
      } else {
        ranges += try classRange().ranges
      }
      empty = false
    }
    position += 1
    let set = operands.reduce(ScalarSet(ranges)) { $0.intersection($1) }
    return negated ? set.inverted : set
  }

  /// One character, or a range of them.
  private mutating func classRange() throws(PatternProblem) -> ScalarSet {
    let first = try classCharacter()
    // A hyphen before the closing bracket or a class stands for itself.
    guard peek() == "-", let after = peek(1), after != "]", after != "[" else {
      return try literal(first)
    }
    position += 1
    let last = try classCharacter()
    guard first <= last else { throw problem("has a range that runs backwards") }
    let range = ScalarSet([first.value...last.value])
    guard ignoresCase else { return range }
    guard last.isASCII else { throw problem("ignores the case of a range beyond ASCII") }
    return range.foldingASCII
  }

  private mutating func classCharacter() throws(PatternProblem) -> Unicode.Scalar {
    guard let next = peek() else { throw problem("has a '[' that is never closed") }
    if next == "\\" { return try characterEscape() }
    position += 1
    return next
  }

  /// The set of `\s`, `\p{L}` and their like, if one is next.
  private mutating func classEscape() throws(PatternProblem) -> ScalarSet? {
    guard peek() == "\\", let kind = peek(1) else { return nil }
    let set: ScalarSet
    switch kind {
    case "s": set = .whitespace
    case "S": set = ScalarSet.whitespace.inverted
    case "d": set = .digits
    case "D": set = ScalarSet.digits.inverted
    case "p", "P":
      position += 2
      let named = try property()
      return kind == "P" ? named.inverted : named
    default: return nil
    }
    position += 2
    return set
  }

  private mutating func property() throws(PatternProblem) -> ScalarSet {
    if ignoresCase { throw problem("ignores the case of a Unicode property") }
    var name = ""
    if take("{") {
      guard let close = scalars[position...].firstIndex(of: "}") else {
        throw problem("has a '{' that is never closed")
      }
      name.unicodeScalars.append(contentsOf: scalars[position..<close])
      position = close + 1
    } else {
      throw problem("has \\p without {}")
    }
    let negated = name.hasPrefix("^")
    if negated { name.removeFirst() }
    guard let set = ScalarSet.property(name) else {
      throw problem("asks for the Unicode property \"\(name)\", which is not supported")
    }
    return negated ? set.inverted : set
  }

  /// The character that an escape stands for.
  private mutating func characterEscape() throws(PatternProblem) -> Unicode.Scalar {
    guard let kind = peek(1) else { throw problem("ends with a backslash") }
    position += 2
    switch kind {
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "f": return "\u{C}"
    case "v": return "\u{B}"
    case "x":
      if take("{") {
        let value = try hex(digits: 1...8)
        guard take("}") else { throw problem("has a '{' that is never closed") }
        return value
      }
      return try hex(digits: 1...2)
    case "u": return try hex(digits: 4...4)
    default:
      let alphanumeric =
        kind.isASCII && (kind.properties.isAlphabetic || ("0"..."9").contains(kind))
      if alphanumeric { throw problem("has the escape \\\(kind), which is not supported") }
      return kind
    }
  }

  private mutating func hex(digits: ClosedRange<Int>) throws(PatternProblem) -> Unicode.Scalar {
    var text = ""
    while text.count < digits.upperBound, let next = peek(), next.isASCII,
      next.properties.isHexDigit
    {
      text.unicodeScalars.append(next)
      position += 1
    }
    guard text.count >= digits.lowerBound, let value = UInt32(text, radix: 16),
      let scalar = Unicode.Scalar(value)
    else { throw problem("has an escape that is no character") }
    return scalar
  }
}
