// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

extension JSONReader {
  package enum Number: Sendable, Hashable {
    case integer(Int)
    case double(Double)
  }

  /// Reads a string and resolves its escapes.
  package mutating func readString() throws(RegateError) -> String {
    skipWhitespace()
    guard take(UInt8(ascii: "\"")) else { throw unexpected("a string") }
    let start = position
    skipPlainCharacters()
    if peek() == UInt8(ascii: "\"") {
      position += 1
      return String(decoding: bytes[start..<position - 1], as: UTF8.self)
    }
    var text = Array(bytes[start..<position])
    while true {
      guard let byte = peek() else { throw cut("ends inside a string") }
      if byte == UInt8(ascii: "\"") { break }
      guard byte == UInt8(ascii: "\\") else {
        throw error("has a control character inside a string, which must be escaped")
      }
      try readEscape(into: &text)
      let plain = position
      skipPlainCharacters()
      text.append(contentsOf: bytes[plain..<position])
    }
    position += 1
    return String(decoding: text, as: UTF8.self)
  }

  /// Moves to the next quote, backslash, control character or the end.
  private mutating func skipPlainCharacters() {
    var index = position
    while index < bytes.count {
      let byte = bytes[index]
      if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte < 0x20 { break }
      index += 1
    }
    position = index
  }

  private mutating func readEscape(into text: inout [UInt8]) throws(RegateError) {
    let start = position
    position += 1
    guard let byte = peek() else { throw cut("ends inside a string") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"): text.append(contentsOf: String(try readCodePoint(start)).utf8)
    default: throw error("has an unknown escape in a string", at: start)
    }
  }

  /// The scalar after `\u`; a second escape follows where the first is a high surrogate.
  private mutating func readCodePoint(_ start: Int) throws(RegateError) -> Character {
    let value = try readHex(start)
    if let scalar = Unicode.Scalar(value) { return Character(scalar) }
    let next = position
    if value < 0xDC00, take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) {
      let low = try readHex(start)
      if (0xDC00...0xDFFF).contains(low),
        let scalar = Unicode.Scalar(0x10000 + (value - 0xD800) << 10 + (low - 0xDC00))
      {
        return Character(scalar)
      }
    }
    guard dialect == .python else {
      throw error("has half of a surrogate pair in a string", at: start)
    }
    // What follows is read for itself.
    position = next
    liberties.replacedSurrogates += 1
    return "\u{FFFD}"
  }

  private mutating func readHex(_ start: Int) throws(RegateError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek(), let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw error("has a \\u escape without four hexadecimal digits", at: start)
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  /// Reads a number. Integers that fit Int are exact; `-0`, fractions, exponents and larger
  /// integers are the nearest Double.
  package mutating func readNumber() throws(RegateError) -> Number {
    skipWhitespace()
    let start = position
    if dialect == .python, let value = takeNonFinite() { return .double(value) }
    let negative = take(UInt8(ascii: "-"))
    let digits = try skipDigits()
    guard digits.count == 1 || bytes[digits.lowerBound] != UInt8(ascii: "0") else {
      throw error("has a number with a leading zero", at: start)
    }
    var integral = true
    if take(UInt8(ascii: ".")) {
      integral = false
      _ = try skipDigits()
    }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      integral = false
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      _ = try skipDigits()
    }
    if integral, let value = integer(digits, negative: negative) { return .integer(value) }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let value = Double(text), value.isFinite || dialect == .python else {
      throw error("has a number too large for a Double", at: start)
    }
    if !value.isFinite { liberties.nonFinite.add("\(path) is \(text)") }
    return .double(value)
  }

  /// Reads a number that must be an exact integer.
  package mutating func readInteger() throws(RegateError) -> Int {
    skipWhitespace()
    let start = position
    guard case .integer(let value) = try readNumber() else {
      let text = String(decoding: bytes[start..<position].prefix(40), as: UTF8.self)
      throw error("has \(text) where a 64-bit integer is expected", at: start)
    }
    return value
  }

  /// `NaN`, `Infinity` or `-Infinity`, if one is next.
  private mutating func takeNonFinite() -> Double? {
    for value in [Double.nan, .infinity, -.infinity]
    where bytes[position...].starts(with: value.pythonName.utf8) {
      position += value.pythonName.utf8.count
      liberties.nonFinite.add("\(path) is \(value.pythonName)")
      return value
    }
    return nil
  }

  private mutating func skipDigits() throws(RegateError) -> Range<Int> {
    let start = position
    while let byte = peek(), byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    guard position > start else { throw unexpected("a digit") }
    return start..<position
  }

  /// The value of `digits`, or nil where it does not fit or is a negative zero.
  private func integer(_ digits: Range<Int>, negative: Bool) -> Int? {
    var value = 0
    for index in digits {
      let digit = Int(bytes[index] - UInt8(ascii: "0"))
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) =
        negative
        ? product.subtractingReportingOverflow(digit) : product.addingReportingOverflow(digit)
      if overflow || carry { return nil }
      value = sum
    }
    return negative && value == 0 ? nil : value
  }
}
