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
      found.append((String(decoding: document.text, as: UTF8.self), document.line))
    }
    return found
  }

  @Test func `A text file is one document, byte for byte`() throws {
    let text = "\u{FEFF}first\r\nsecond é\n\n"
    let found = try documents(Array(text.utf8), "a.txt")
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

  static let refused: [(name: String, text: [UInt8], says: String)] = [
    ("a.csv", Array("x".utf8), "neither .txt nor .jsonl"), ("a.txt", [], "is empty"),
    ("a.txt", Array("ok\nb".utf8) + [0xFF, 0x0A], "line 2: byte 4 of the file is not valid UTF-8"),
    ("a.txt", Array("ok".utf8) + [0xE4, 0xBD], "line 1: byte 2 of the file"),
    ("a.jsonl", Array("{}\n".utf8), "an object without a member \"text\""),
    ("a.jsonl", Array("{\"text\": 3}".utf8), "\"text\" is an integer"),
    ("a.jsonl", Array("[1]".utf8), "line 1: an array without"),
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
