// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import TestSupport
import Testing
import TextTokens

@Suite struct TextDocumentsTests {
  private func documents(
    _ bytes: [UInt8], _ name: String, field: String = "text"
  ) throws -> [(text: String, line: Int?)] {
    let directory = try TemporaryDirectory()
    var documents = try TextDocuments(path: directory.write(bytes, to: name), field: field)
    var found: [(text: String, line: Int?)] = []
    while let document = try documents.next() {
      found.append((String(decoding: document.text, as: UTF8.self), document.number))
    }
    return found
  }

  @Test func `A text file is one document, byte for byte but for a byte order mark`() throws {
    let text = "first\r\nsecond é\n\n"
    let found = try documents(Array(("\u{FEFF}" + text).utf8), "a.txt")
    #expect(found.count == 1 && Array(found[0].text.utf8) == Array(text.utf8))
    #expect(found[0].line == nil)
  }

  @Test func `Each line of a jsonl file is a document`() throws {
    let lines = #"{"text": "one\nline", "n": 1}"# + "\r\n\n  \n" + #"{"body": "x", "text": ""}"#
    let found = try documents(Array(lines.utf8), "a.JSONL")
    #expect(found.map(\.text) == ["one\nline", ""] && found.map(\.line) == [1, 4])
    let body = #"{"text": "one", "body": "é"}"# + "\n"
    #expect(try documents(Array(body.utf8), "a.jsonl", field: "body").map(\.text) == ["é"])
  }

  @Test func `Compressed files are read`() throws {
    let path = fixtures.appending(path: "arrays/text.txt.gz").path(percentEncoded: false)
    var documents = try TextDocuments(path: path)
    let first = try #require(try documents.next())
    #expect(first.text.count > 100)
    #expect(try documents.next() == nil)
  }

  private func notes(_ text: String, _ name: String, limit: Int = 1 << 20) throws -> [String] {
    let directory = try TemporaryDirectory()
    var documents = try TextDocuments(
      path: directory.write(Array(text.utf8), to: name), limit: limit)
    while try documents.next() != nil {}
    return documents.notes.map { String($0.split(separator: ": ", maxSplits: 1).last ?? "") }
  }

  @Test(arguments: ["a.json", "a.jsonl", "a.JSON.gz"])
  func `An array of objects is as its objects on lines`(name: String) throws {
    let objects = [#"{"text": "one, ]"}"#, #"{"a": [1, {"text": "no"}], "text": "tw\"o\n"}"#]
    for json in [
      "[\(objects.joined(separator: ","))]", "\n [ \(objects.joined(separator: " , "))\n]\n",
    ] {
      let bytes = Array(json.utf8)
      let found = try documents(name.hasSuffix(".gz") ? gzipBytes(bytes) : bytes, name)
      #expect(found.map(\.text) == ["one, ]", "tw\"o\n"] && found.map(\.line) == [1, 2])
    }
    let lines = Array(objects.joined(separator: "\n").utf8)
    #expect(
      try documents(name.hasSuffix(".gz") ? gzipBytes(lines) : lines, name).map(\.text)
        == ["one, ]", "tw\"o\n"])
  }

  @Test func `Objects may be laid out over several lines`() throws {
    let text = "{\n  \"text\": \"one\"\n}\n{\n  \"text\": \"two\"\n}\n"
    #expect(try documents(Array(text.utf8), "a.json").map(\.text) == ["one", "two"])
  }

  @Test func `Text of any other name is text`() throws {
    for name in ["wiki.test.raw", "a.md", "NOTES", "a.csv"] {
      #expect(try documents(Array("one\ntwo".utf8), name).map(\.text) == ["one\ntwo"])
    }
  }

  @Test func `Lines that Python reads are read, and what they lack is said once`() throws {
    let lines = [
      #"{"text": "one", "score": NaN, "score": [-Infinity, 1e999]}"#, #"{"text": null}"#,
      #"{"text": "x", "text": "cut \ud83d, \ude00\ud83d\u0041 \ud83d\ude00"}"#, #"{"id": 4}"#,
    ]
    let text = "\u{FEFF}" + lines.joined(separator: "\n")
    let found = try documents(Array(text.utf8), "a.jsonl")
    #expect(found.map(\.text) == ["one", "cut \u{FFFD}, \u{FFFD}\u{FFFD}A \u{1F600}"])
    #expect(
      try notes(text, "a.jsonl") == [
        "the byte order mark at its start is left out", #"2 of 4 lines hold no text in "text""#,
        "1 of 4 lines holds half a surrogate pair, read as U+FFFD",
      ])
    #expect(try notes(lines[0], "a.jsonl") == [])
  }

  @Test func `What is beyond the limit is not read, and that is said`() throws {
    let row = #"{"text": "\#(String(repeating: "word ", count: 1000))"}"#
    let rows = [String](repeating: row, count: 3000)
    for (text, name) in [
      ("[" + rows.joined(separator: ",") + "]", "a.json"),
      (rows.joined(separator: "\n"), "a.jsonl"),
      (rows.joined(separator: "\n"), "a.txt"),
    ] {
      #expect(try notes(text, name, limit: 1 << 20) == ["only its first 1 MiB of text are read"])
      #expect(try notes(text, name, limit: 1 << 24) == [])
    }
    let directory = try TemporaryDirectory()
    let path = try directory.write(Array("one\ntwo\nthree".utf8), to: "a.txt")
    var cut = try TextDocuments(path: path, limit: 9)
    #expect(try cut.next().map { String(decoding: $0.text, as: UTF8.self) } == "one\ntwo\n")
  }

  static let refused: [(name: String, text: [UInt8], says: String)] = [
    ("a.log", [0x1B, 0xFF], "give text in UTF-8, JSON lines"), ("a.txt", [], "is empty"),
    ("a.txt.zst", [0x28, 0xB5, 0x2F, 0xFD], "decompress it with `zstd -d`"),
    ("a.parquet", Array("PAR1".utf8), "turn it into JSON lines"),
    ("a.json", Array("[{\"text\": \"a\"}".utf8), "ends inside its array"),
    ("a.json", Array("[{\"text\": \"a\"}] x".utf8), "something follows the array"),
    ("a.json", Array("[{\"text\": \"a\"}, 3]".utf8), "element 2: an integer without"),
    ("a.json", Array("[{\"text\": \"a\"}, {\"te]".utf8), "element 2, byte"),
    ("a.txt", Array("ok\nb".utf8) + [0xFF, 0x0A], "line 2: byte 4 of the file is not valid UTF-8"),
    ("a.txt", Array("ok".utf8) + [0xE4, 0xBD], "line 1: byte 2 of the file"),
    ("a.jsonl", Array("{}\n".utf8), "an object without a member \"text\""),
    ("a.jsonl", Array("\"text\"\n".utf8), "each line must be an object, with its text in a member"),
    ("a.jsonl", Array("{\"text\": 3}".utf8), "\"text\" is an integer"),
    ("a.jsonl", Array("[1]".utf8), "element 1: an integer without"),
    ("a.jsonl", Array("{\"text\": \"a\"}\nx".utf8), "line 2, byte 14"),
    (
      "a.jsonl", Array("{\"text\": \"a\"}\n{\"text\": \"".utf8) + [0xC3, 0x22, 0x7D],
      "line 2: byte 24 of the file is not valid UTF-8"
    ),
    ("a.jsonl", Array("{\"messages\": []}".utf8), "tools/render_chat.py"),
    ("a.txt.gz", Array("text".utf8), "does not begin as a gzip file"),
  ]

  @Test(arguments: refused)
  func `What cannot be read is refused with its place`(
    name: String, text: [UInt8], says: String
  ) throws {
    let error = #expect(throws: RegateError.self) { try documents(text, name) }
    let line = error?.description ?? ""
    #expect(line.contains(says) && line.contains(name), "\(line)")
  }
}
