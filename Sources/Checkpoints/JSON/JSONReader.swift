// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// A strict pull parser for JSON (RFC 8259) over bytes that are valid UTF-8.
///
/// Used directly where a file's structure is fixed (safetensors headers), so that nothing but the
/// expected values is ever built, and by `JSONValue` for everything else. Errors name the file and
/// the byte offset. Keys are handed out as they come: whoever reads an object tells of duplicates.
///
/// A reader of another dialect than the strict one counts what is not in that.
package struct JSONReader {
  /// Mirrors the recursion limit of serde_json, which the official safetensors reader uses.
  package static let depthLimit = 128

  package enum Kind: String, Sendable { case object, array, string, number, bool, null }

  /// What is read beside JSON whose objects hold each key once.
  package enum Dialect: Sendable {
    case strict
    /// Keys that are there twice, of which the last counts, as in Rust's maps.
    case repeatedKeys
    /// What Python's json module reads: such keys, `NaN`, `Infinity` and halves of surrogate
    /// pairs, which become U+FFFD.
    case python
  }

  package let file: String
  let bytes: [UInt8]
  let dialect: Dialect
  /// What was read so far that a strict reader refuses.
  package internal(set) var liberties = JSONLiberties()
  /// Offset in the file of `bytes[0]`.
  let origin: Int
  var position = 0
  /// Where the key that was read last begins; valid until another key is read.
  var keyPosition = 0
  /// The keys that lead to what is read.
  private var keys: [String] = []
  private var depth = 0

  /// A reader of `bytes`, which begin `origin` bytes into `file`. All of them must be UTF-8.
  package init(
    _ bytes: [UInt8], file: String, origin: Int = 0, dialect: Dialect = .strict
  ) throws(RegateError) {
    self.file = file
    self.bytes = bytes
    self.dialect = dialect
    self.origin = origin
    if let invalid = firstInvalidUTF8(in: bytes) {
      throw error("is not valid UTF-8", at: invalid)
    }
  }

  /// An error about the byte at `position` (by default, the next one).
  package func error(
    _ problem: String, at position: Int? = nil, advice: String? = nil
  ) -> RegateError {
    RegateError(
      .malformed, file: file, subject: "byte \(origin + (position ?? self.position))", problem,
      advice: advice)
  }

  /// An error about a text that ends too early.
  func cut(_ problem: String) -> RegateError {
    error(problem, advice: "the file may be cut off: fetch it again")
  }

  /// The keys that lead to what is read, with dots between.
  var path: String { keys.joined(separator: ".") }

  /// Takes note that the key whose value is being read was there before; a strict reader refuses
  /// it. `position` is where the key stands.
  package mutating func repeated(_ key: String, at position: Int? = nil) throws(RegateError) {
    guard dialect != .strict else { throw duplicate(key, at: position) }
    liberties.repeatedKeys.add(path)
  }

  /// The error for a key that its object holds already.
  package func duplicate(_ key: String, at position: Int? = nil) -> RegateError {
    error(
      "duplicate key \"\(key)\"", at: position ?? keyPosition, advice: "remove one of the two")
  }

  /// What the next value is.
  package mutating func kind() throws(RegateError) -> Kind {
    skipWhitespace()
    switch peek() {
    case UInt8(ascii: "{"): return .object
    case UInt8(ascii: "["): return .array
    case UInt8(ascii: "\""): return .string
    case UInt8(ascii: "-"): return .number
    case let digit? where digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9"): return .number
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
    case UInt8(ascii: "n"): return .null
    case UInt8(ascii: "N"), UInt8(ascii: "I"):
      guard dialect == .python else { throw unexpected("a value") }
      return .number
    default: throw unexpected("a value")
    }
  }

  /// Reads an object, calling `member` with each key; it must read the key's value.
  package mutating func readObject(
    _ member: (inout JSONReader, _ key: String) throws(RegateError) -> Void
  ) throws(RegateError) {
    try open(UInt8(ascii: "{"), "an object")
    skipWhitespace()
    if take(UInt8(ascii: "}")) { return close() }
    while true {
      skipWhitespace()
      keyPosition = position
      guard peek() == UInt8(ascii: "\"") else { throw unexpected("a key in quotes") }
      let key = try readString()
      skipWhitespace()
      guard take(UInt8(ascii: ":")) else { throw unexpected("':' after a key") }
      keys.append(key)
      try member(&self, key)
      keys.removeLast()
      skipWhitespace()
      if take(UInt8(ascii: "}")) { return close() }
      guard take(UInt8(ascii: ",")) else { throw unexpected("',' or '}'") }
    }
  }

  /// Reads an array, calling `element` for each value; it must read that value.
  package mutating func readArray(
    _ element: (inout JSONReader) throws(RegateError) -> Void
  ) throws(RegateError) {
    try open(UInt8(ascii: "["), "an array")
    skipWhitespace()
    if take(UInt8(ascii: "]")) { return close() }
    while true {
      try element(&self)
      skipWhitespace()
      if take(UInt8(ascii: "]")) { return close() }
      guard take(UInt8(ascii: ",")) else { throw unexpected("',' or ']'") }
    }
  }

  /// Reads `null`, `true` or `false`; nil stands for `null`.
  package mutating func readLiteral() throws(RegateError) -> Bool? {
    skipWhitespace()
    let words: [(word: String, value: Bool?)] = [("null", nil), ("true", true), ("false", false)]
    for (word, value) in words where bytes[position...].starts(with: word.utf8) {
      position += word.utf8.count
      return value
    }
    throw unexpected("null, true or false")
  }

  /// Reads a value of any kind and forgets it.
  package mutating func skipValue() throws(RegateError) {
    switch try kind() {
    case .object: try readObject { (reader, _) throws(RegateError) in try reader.skipValue() }
    case .array: try readArray { (reader) throws(RegateError) in try reader.skipValue() }
    case .string: _ = try readString()
    case .number: _ = try readNumber()
    case .bool, .null: _ = try readLiteral()
    }
  }

  /// Requires that only white space is left.
  package mutating func finish() throws(RegateError) {
    skipWhitespace()
    guard position == bytes.count else { throw unexpected("the end of the JSON text") }
  }

  // MARK: Bytes

  func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  /// Moves past `byte` if it is next.
  mutating func take(_ byte: UInt8) -> Bool {
    guard peek() == byte else { return false }
    position += 1
    return true
  }

  mutating func skipWhitespace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      position += 1
    }
  }

  func unexpected(_ expected: String) -> RegateError {
    guard let byte = peek() else { return cut("ends where \(expected) is expected") }
    if position == 0, bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
      return error(
        "begins with a byte order mark, which JSON has not", advice: "save the file without it")
    }
    let shown =
      byte > 0x20 && byte < 0x7F
      ? "'\(Unicode.Scalar(byte))'" : "byte 0x" + String(byte, radix: 16, uppercase: true)
    return error(
      "has \(shown) where \(expected) is expected",
      advice: "correct the JSON text there, or fetch the file again")
  }

  private mutating func open(_ byte: UInt8, _ expected: String) throws(RegateError) {
    skipWhitespace()
    guard peek() == byte else { throw unexpected(expected) }
    guard depth < JSONReader.depthLimit else {
      throw error("is nested deeper than \(JSONReader.depthLimit) levels")
    }
    depth += 1
    position += 1
  }

  private mutating func close() { depth -= 1 }
}
