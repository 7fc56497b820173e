// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints

// Text to calibrate on.
//
// 1. `.txt`: the whole file is one document.
// 2. `.jsonl`: each line that is not blank is an object with the document in one of its members.
// 3. `.txt.gz`, `.jsonl.gz`: the same, compressed.

/// The documents of a text file, one after the other.
package struct TextDocuments {
  /// The file.
  package let path: String
  /// The member of a line that holds its document.
  package let field: String

  private let content: Content
  private let isLines: Bool
  private var position = 0
  private var line = 0

  /// One document.
  package struct Document: Sendable {
    /// Valid UTF-8.
    package let text: [UInt8]
    /// Its line in a `.jsonl` file, from 1.
    package let line: Int?
  }

  private enum Content {
    case mapped(MappedFile)
    case inflated([UInt8])

    var count: Int {
      switch self {
      case .mapped(let file): file.count
      case .inflated(let bytes): bytes.count
      }
    }

    func bytes(in range: Range<Int>) throws(RegateError) -> [UInt8] {
      switch self {
      case .mapped(let file): try file.bytes(in: range)
      case .inflated(let bytes): Array(bytes[range])
      }
    }

    func firstNewline(from start: Int) throws(RegateError) -> Int? {
      let newline = UInt8(ascii: "\n")
      switch self {
      case .mapped(let file): return try file.firstOffset(of: newline, from: start)
      case .inflated(let bytes): return bytes[start...].firstIndex(of: newline)
      }
    }
  }

  /// Opens `path`, whose name must end in `.txt`, `.jsonl` or these and `.gz`. `field` is only for
  /// `.jsonl`.
  package init(path: String, field: String = "text") throws(RegateError) {
    let name = path.lowercased()
    let compressed = name.hasSuffix(".gz")
    let stem = compressed ? String(name.dropLast(3)) : name
    guard stem.hasSuffix(".txt") || stem.hasSuffix(".jsonl") else {
      throw RegateError(
        .unsupported, file: path, "is neither .txt nor .jsonl (nor one of them with .gz)",
        advice: "rename the file if it is text")
    }
    self.path = path
    self.field = field
    isLines = stem.hasSuffix(".jsonl")
    content =
      compressed ? .inflated(try Gzip.contents(of: path)) : .mapped(try MappedFile(path: path))
    guard content.count > 0 else { throw RegateError(.malformed, file: path, "is empty") }
  }

  /// The next document, or nil after the last.
  package mutating func next() throws(RegateError) -> Document? {
    guard isLines else {
      guard position == 0 else { return nil }
      position = content.count
      let text = try content.bytes(in: 0..<content.count)
      try check(text, origin: 0)
      return Document(text: text, line: nil)
    }
    while position < content.count {
      let start = position
      let end = try content.firstNewline(from: start) ?? content.count
      position = end + 1
      line += 1
      let bytes = try content.bytes(in: start..<end)
      if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
      return Document(text: try text(of: bytes, origin: start), line: line)
    }
    return nil
  }

  /// Refuses bytes that are not UTF-8, and says where they are.
  private func check(_ bytes: [UInt8], origin: Int) throws(RegateError) {
    guard let invalid = firstInvalidUTF8(in: bytes) else { return }
    let before = bytes[..<invalid].count { $0 == UInt8(ascii: "\n") }
    let number = isLines ? line : before + 1
    throw RegateError(
      .malformed, file: path, subject: "line \(number)",
      "byte \(origin + invalid) of the file is not valid UTF-8",
      advice: "convert the file to UTF-8, for example with iconv")
  }

  private func text(of bytes: [UInt8], origin: Int) throws(RegateError) -> [UInt8] {
    try check(bytes, origin: origin)
    let value: JSONValue
    do throws(RegateError) {
      value = try JSONValue(parsing: bytes, file: path, origin: origin)
    } catch {
      var error = error
      error.subject = "line \(line)" + (error.subject.map { ", \($0)" } ?? "")
      error.advice = "each line must be one JSON object"
      throw error
    }
    if let text = value[field]?.stringValue { return Array(text.utf8) }
    if value["messages"] != nil {
      throw RegateError(
        .refused, file: path, subject: "line \(line)",
        "holds the messages of a chat, which the model's own template must turn into text",
        advice: "python tools/render_chat.py MODEL \(path) OUTPUT.jsonl, and use OUTPUT.jsonl")
    }
    let found = value[field].map { "\"\(field)\" is \($0.kindName)" }
    throw RegateError(
      .malformed, file: path, subject: "line \(line)",
      found ?? "\(value.kindName) without a member \"\(field)\"",
      advice: "name the member that holds the text with `field`")
  }
}
