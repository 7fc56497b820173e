// SPDX-License-Identifier: Apache-2.0
//
// Counts as text, each with the model's number of the layer:
//
//   CSV    columns layer, expert, count in any order beside others, told by a first line of names;
//          without one, these three. Separated by comma, semicolon or tab.
//   JSON   [{"layer": 0, "expert": 3, "count": 17}, ..], or what `Inspection` encodes as

import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections

/// The entries of such a file.
package struct ExpertTable {
  /// Where an inspection says which routers chose.
  package static let routersKey = "router_fingerprint"

  struct Entry {
    let layer: Int
    let expert: Int
    let count: Int
    /// Where it stands, for errors.
    let place: String
  }

  let entries: [Entry]
  /// The fingerprint of the routers that chose, where an inspection says it.
  let routers: String?

  private static let columns = ["layer", "expert", "count"]

  /// Whether the file begins as text does.
  static func isOne(_ path: String) throws(RegateError) -> Bool {
    let file = try MappedFile(path: path)
    let start = withoutMark(try file.bytes(in: 0..<min(file.count, 64)))
    return start.allSatisfy { $0 >= 0x20 && $0 < 0x7F || 9...13 ~= $0 }
      && !start.starts(with: Array("GGUF".utf8))
  }

  init(path: String) throws(RegateError) {
    let file = try MappedFile(path: path)
    guard file.count <= JSONValue.sizeLimit else {
      throw RegateError(
        .unsupported, file: path, "has \(file.count) bytes, more than \(JSONValue.sizeLimit)")
    }
    let bytes = Self.withoutMark(try file.bytes(in: 0..<file.count))
    let first = bytes.first { $0 > 0x20 }
    guard first == UInt8(ascii: "[") || first == UInt8(ascii: "{") else {
      entries = try Self.csv(String(decoding: bytes, as: UTF8.self), path)
      routers = nil
      return
    }
    let value = try JSONValue(parsing: bytes, file: path)
    entries = try Self.json(value, path)
    routers = value[Self.routersKey]?.stringValue
  }

  /// Spreadsheets begin with a byte order mark.
  private static func withoutMark(_ bytes: [UInt8]) -> [UInt8] {
    bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
  }

  // MARK: JSON

  private static func json(_ value: JSONValue, _ path: String) throws(RegateError) -> [Entry] {
    if let layers = value["layers"]?.arrayValue { return try inspected(layers, path) }
    guard let rows = value.arrayValue else { throw unknown(path) }
    var entries: [Entry] = []
    for (number, row) in rows.enumerated() {
      let numbers = columns.compactMap { row[$0].flatMap(whole) }
      guard numbers.count == columns.count else {
        throw RegateError(
          .mismatch, file: path, subject: "element \(number)",
          "has no whole numbers layer, expert and count")
      }
      entries.append(
        Entry(
          layer: numbers[0], expert: numbers[1], count: numbers[2], place: "element \(number)"))
    }
    return entries
  }

  /// Tables that once had gaps hold 800.0 for 800.
  private static func whole(_ value: JSONValue) -> Int? {
    value.intValue ?? value.doubleValue.flatMap(Int.init(exactly:))
  }

  private static func inspected(
    _ layers: [JSONValue], _ path: String
  ) throws(RegateError) -> [Entry] {
    var entries: [Entry] = []
    for (number, layer) in layers.enumerated() {
      let place = "layers[\(number)]"
      guard let index = layer["index"]?.intValue, let load = layer["load"]?.arrayValue else {
        throw RegateError(
          .mismatch, file: path, subject: place, "has no index and load",
          advice: "make it with `calibration` or `counts`, so that it has loads")
      }
      for (expert, count) in load.enumerated() {
        guard let count = whole(count) else { throw unknown(path) }
        entries.append(Entry(layer: index, expert: expert, count: count, place: place))
      }
    }
    return entries
  }

  // MARK: CSV

  private static func csv(_ text: String, _ path: String) throws(RegateError) -> [Entry] {
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    var order: [Int]?
    var entries: [Entry] = []
    for (number, line) in lines.enumerated() {
      let fields = line.split(omittingEmptySubsequences: false) { ",;\t".contains($0) }.map {
        $0.trimmingCharacters(in: .whitespaces)
          .trimmingCharacters(in: CharacterSet(charactersIn: "\""))
      }
      guard fields != [""] else { continue }
      guard let places = order else {
        let names = columns.compactMap { name in fields.firstIndex { $0.lowercased() == name } }
        order = names.count == columns.count ? names : [0, 1, 2]
        if names.isEmpty { entries += [try entry(fields, [0, 1, 2], number, path)] }
        guard names.isEmpty || names.count == columns.count else { throw unknown(path) }
        continue
      }
      entries.append(try entry(fields, places, number, path))
    }
    return entries
  }

  private static func entry(
    _ fields: [String], _ places: [Int], _ number: Int, _ path: String
  ) throws(RegateError) -> Entry {
    let numbers = places.compactMap {
      $0 < fields.count ? Int(fields[$0]) ?? Double(fields[$0]).flatMap(Int.init(exactly:)) : nil
    }
    guard numbers.count == columns.count else {
      throw RegateError(
        .mismatch, file: path, subject: "line \(number + 1)",
        "has no whole numbers layer, expert and count")
    }
    return Entry(
      layer: numbers[0], expert: numbers[1], count: numbers[2], place: "line \(number + 1)")
  }

  private static func unknown(_ path: String) -> RegateError {
    RegateError(
      .mismatch, file: path, "holds no counts",
      advice: "give CSV with the columns layer, expert and count, or JSON objects with these keys")
  }
}
