// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints

// Text to calibrate on. Each form may be compressed by gzip.
//
// 1. `.jsonl`, `.ndjson`, `.json`: each line that is not blank is an object with the document in
//    one of its members; or objects follow each other however they are laid out; or they are
//    elements of one array.
// 2. Any other name: the whole file is one document.
//
// JSON is read as Python reads it, and what it lacks or spoils is counted: null, or no member in
// other than the first object, is no document; half a surrogate pair is U+FFFD.

/// The documents of a text file, one after the other.
package struct TextDocuments {
  /// Text that is read by default, in bytes.
  package static let defaultLimit = 64 << 20
  /// Longest JSON value, in bytes.
  private static let valueLimit = 256 << 20

  /// The file.
  package let path: String
  /// The member of an object that holds its document.
  package let field: String

  private enum Layout { case text, lines, values, array }

  private let format: TextFormat
  private let limit: Int
  private var layout = Layout.text
  private var window: ByteWindow
  private var number = 0
  private var taken = 0
  private var started = false

  private var beginsWithMark = false
  private var withoutText = 0
  private var replaced = 0
  private var isCut = false

  /// One document.
  package struct Document: Sendable {
    /// Valid UTF-8.
    package let text: [UInt8]
    /// Its line or element in a file of JSON, from 1; nil where the file is the document.
    package let number: Int?
  }

  /// Opens `path`. `field` is only for JSON; about `limit` bytes of text are read.
  package init(
    path: String, field: String = "text", limit: Int = defaultLimit
  ) throws(RegateError) {
    let file = try MappedFile(path: path)
    guard file.count > 0 else { throw RegateError(.malformed, file: path, "is empty") }
    self.path = path
    self.field = field
    self.limit = limit
    format = try TextFormat(file)
    window = try ByteWindow(file, isCompressed: format.isCompressed)
  }

  /// The next document, or nil after the last.
  package mutating func next() throws(RegateError) -> Document? {
    if !started { try start() }
    guard layout != .text else { return try wholeText() }
    while let (bytes, origin) = try value() {
      guard let text = try text(of: bytes, origin: origin) else {
        withoutText += 1
        continue
      }
      taken += text.count
      return Document(text: text, number: number)
    }
    return nil
  }

  /// What was left out or mended in what was read so far, a sentence for each.
  package var notes: [String] {
    var notes: [String] = []
    if beginsWithMark { notes.append("the byte order mark at its start is left out") }
    if withoutText > 0 { notes.append("\(share(withoutText)) no text in \"\(field)\"") }
    if replaced > 0 {
      notes.append("\(share(replaced)) half a surrogate pair, read as U+FFFD")
    }
    if isCut { notes.append("only its first \(limit >> 20) MiB of text are read") }
    return notes.map { "\(path): \($0)" }
  }

  private func share(_ count: Int) -> String {
    "\(count) of \(number) \(unit)s \(count == 1 ? "holds" : "hold")"
  }

  private var unit: String { layout == .lines ? "line" : "element" }

  // MARK: Layout

  private mutating func start() throws(RegateError) {
    started = true
    guard format.isJSON else { return }
    layout = .lines
    guard try window.fill() else { return }
    skipMark()
    let begin = window.position
    guard try window.skipSpace() else { return }
    if window.bytes[window.position] == UInt8(ascii: "[") {
      layout = .array
      window.position += 1
      return
    }
    var boundary = JSONBoundary()
    let line = window.bytes[window.position...].prefix { $0 != UInt8(ascii: "\n") }
    let isWhole = boundary.end(in: Array(line), from: 0) != nil
    // An object whose first line does not end it is laid out over several.
    if !isWhole, window.position + line.count < window.bytes.count { layout = .values }
    // Blank lines before the first count as lines.
    if layout == .lines {
      number = window.bytes[begin..<window.position].count { $0 == UInt8(ascii: "\n") }
    }
  }

  /// Passes over the byte order mark that Windows tools write first.
  private mutating func skipMark() {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    guard window.bytes.starts(with: mark) else { return }
    beginsWithMark = true
    window.position = mark.count
  }

  /// The bytes of the next value, and where they begin in the text.
  private mutating func value() throws(RegateError) -> (bytes: [UInt8], origin: Int)? {
    guard taken < limit else {
      if try window.skipSpace() { isCut = true }
      return nil
    }
    return layout == .lines ? try line() : try element()
  }

  private mutating func line() throws(RegateError) -> (bytes: [UInt8], origin: Int)? {
    while true {
      let origin = window.offset
      guard let bytes = try lineBytes() else { return nil }
      number += 1
      if bytes.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) {
        return (bytes, origin)
      }
    }
  }

  /// The next line without its line feed; nil at the end.
  private mutating func lineBytes() throws(RegateError) -> [UInt8]? {
    var seen = 0
    while true {
      let start = window.position + seen
      if let end = window.bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { window.position += 1 }
        return window.take(to: end)
      }
      seen = window.bytes.count - window.position
      try requireShort(seen)
      if try !window.fill() { return seen == 0 ? nil : window.take(to: window.bytes.count) }
    }
  }

  /// The next element of an array, or value of a row of them.
  private mutating func element() throws(RegateError) -> (bytes: [UInt8], origin: Int)? {
    guard try window.skipSpace() else {
      guard layout == .values else {
        throw RegateError(
          .malformed, file: path, "ends inside its array of JSON objects",
          advice: "the file may be cut off: fetch or make it again")
      }
      return nil
    }
    if layout == .array {
      if window.bytes[window.position] == UInt8(ascii: "]") { return try endArray() }
      if number > 0, window.bytes[window.position] == UInt8(ascii: ",") {
        window.position += 1
        _ = try window.skipSpace()
      }
    }
    number += 1
    let origin = window.offset
    var boundary = JSONBoundary()
    var seen = 0
    while true {
      if let end = boundary.end(in: window.bytes, from: window.position + seen) {
        return (window.take(to: end), origin)
      }
      seen = window.bytes.count - window.position
      try requireShort(seen)
      if try !window.fill() { return (window.take(to: window.bytes.count), origin) }
    }
  }

  /// Requires that nothing follows the array.
  private mutating func endArray() throws(RegateError) -> (bytes: [UInt8], origin: Int)? {
    window.position += 1
    guard try window.skipSpace() else {
      layout = .values
      return nil
    }
    throw RegateError(
      .malformed, file: path, subject: "byte \(window.offset)",
      "something follows the array of JSON objects",
      advice: "give one array, or one object on each line")
  }

  private func requireShort(_ count: Int) throws(RegateError) {
    guard count > TextDocuments.valueLimit else { return }
    throw RegateError(
      .unsupported, file: path, subject: "\(unit) \(number + 1)",
      "has more than \(TextDocuments.valueLimit >> 20) MiB",
      advice: "give documents as lines of JSON, or as plain text")
  }

  // MARK: Text

  private mutating func wholeText() throws(RegateError) -> Document? {
    guard number == 0 else { return nil }
    number = 1
    while window.bytes.count <= limit, try window.fill() {}
    var end = window.bytes.count
    if end > limit {
      isCut = true
      // Up to the last whole line, or at least the last whole character.
      let line = window.bytes[..<limit].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 }
      end = line ?? window.bytes[..<limit].lastIndex { $0 & 0xC0 != 0x80 } ?? limit
    }
    skipMark()
    let origin = window.position
    let text = window.take(to: end)
    try check(text, origin: origin)
    return text.isEmpty ? nil : Document(text: text, number: nil)
  }

  /// Refuses bytes that are not UTF-8, and says where they are.
  private func check(_ bytes: [UInt8], origin: Int) throws(RegateError) {
    guard let invalid = firstInvalidUTF8(in: bytes) else { return }
    let line = bytes[..<invalid].count { $0 == UInt8(ascii: "\n") } + 1
    throw RegateError(
      .malformed, file: path,
      subject: layout == .text ? "line \(line)" : "\(unit) \(number)",
      "byte \(origin + invalid) of the file is not valid UTF-8",
      advice: format.isNamedText
        ? "convert the file to UTF-8, for example with iconv"
        : "give text in UTF-8, JSON lines, one of these with .gz, or arrays (.npy, .npz,"
          + " .safetensors)")
  }

  /// The document in a value; nil where it holds none.
  private mutating func text(
    of bytes: [UInt8], origin: Int
  ) throws(RegateError) -> [UInt8]? {
    try check(bytes, origin: origin)
    var member = JSONMember(field)
    do throws(RegateError) {
      try member.read(bytes, file: path, origin: origin)
    } catch {
      var error = error
      error.subject = "\(unit) \(number)" + (error.subject.map { ", \($0)" } ?? "")
      error.advice = "each \(unit) must be one JSON object"
      throw error
    }
    switch member.found {
    case .text(let text, let replacedSurrogates):
      if replacedSurrogates { replaced += 1 }
      return Array(text.utf8)
    case .null: return nil
    case .chat:
      throw RegateError(
        .refused, file: path, subject: "\(unit) \(number)",
        "holds the messages of a chat, which the model's own template must turn into text",
        advice: "python tools/render_chat.py MODEL \(path) OUTPUT.jsonl, and use OUTPUT.jsonl")
    case .missing where taken > 0: return nil
    case .missing: throw refused("an object without a member \"\(field)\"")
    case .other(let kind): throw refused("\"\(field)\" is \(kind)")
    case .noObject(let kind):
      throw refused(
        "\(kind) without a member \"\(field)\"",
        advice: "each \(unit) must be an object, with its text in a member")
    }
  }

  private func refused(
    _ problem: String, advice: String = "name the member that holds the text with `field`"
  ) -> RegateError {
    RegateError(
      .malformed, file: path, subject: "\(unit) \(number)", problem, advice: advice)
  }
}
