// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import OrderedCollections
import TestSupport
import Testing

private func parse(_ text: String) throws -> JSONValue {
  try JSONValue(parsing: Array(text.utf8), file: "t.json")
}

private func randomString(_ random: inout SeededGenerator) -> String {
  let scalars = (0..<Int.random(in: 0...6, using: &random)).map { _ in
    [
      "a", "\"", "\\", "/", "\u{0}", "\u{1F}", "\n", "\t", "\u{8}", "\u{C}", "\r", "\u{7F}", "é",
      "\u{2028}", "\u{FFFF}", "😀", "\u{10FFFF}",
    ].randomElement(using: &random) ?? ""
  }
  return scalars.joined()
}

private func randomValue(_ random: inout SeededGenerator, depth: Int) -> JSONValue {
  switch Int.random(in: 0...(depth > 0 ? 7 : 4), using: &random) {
  case 0: return .null
  case 1: return .bool(Bool.random(using: &random))
  case 2: return .integer(Int.random(in: Int.min...Int.max, using: &random))
  case 3:
    let value = Double(bitPattern: UInt64.random(in: 0...UInt64.max, using: &random))
    return value.isFinite ? .number(value) : .number(-0.0)
  case 4: return .string(randomString(&random))
  case 5:
    return .array(
      (0..<Int.random(in: 0...4, using: &random)).map { _ in randomValue(&random, depth: depth - 1)
      })
  default:
    var members: OrderedDictionary<String, JSONValue> = [:]
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      members[randomString(&random)] = randomValue(&random, depth: depth - 1)
    }
    return .object(members)
  }
}

@Test func `JSON values read back as they were written`() throws {
  for seed in 0..<500 {
    var random = SeededGenerator(seed: UInt64(seed))
    let value = randomValue(&random, depth: 4)
    for style in [JSONValue.Style.compact, .pretty] {
      let bytes = value.serialised(style)
      #expect(try JSONValue(parsing: bytes, file: "t") == value, "seed \(seed)")
      #expect(try JSONValue(parsing: bytes, file: "t").serialised(style) == bytes)
    }
  }
}

@Test(arguments: [
  ("0", JSONValue.integer(0)), ("-0", .number(-0.0)), ("-17", .integer(-17)),
  ("9223372036854775807", .integer(.max)), ("-9223372036854775808", .integer(.min)),
  ("9223372036854775808", .number(9_223_372_036_854_775_808)),
  ("1000000000000000019884624838656", .number(1e30)), ("1e-06", .number(1e-6)),
  ("1E+2", .number(100)), ("0.1", .number(0.1)), ("5e-324", .number(.leastNonzeroMagnitude)),
  ("\"\\u00e9\\ud83d\\ude00\\/\\b\"", .string("é😀/\u{8}")), (" [ ] ", .array([])),
  ("\t{\r\n}", .object([:])), ("null", .null), ("true", .bool(true)),
])
func `JSON texts have their values`(text: String, value: JSONValue) throws {
  let parsed = try parse(text)
  #expect(parsed == value)
  // -0 equals 0 as a Double.
  #expect(parsed.doubleValue?.sign == value.doubleValue?.sign)
}

@Test func `JSON is laid out as Hugging Face does`() {
  let value: JSONValue = [
    "model_type": "mixtral", "eps": 1e-06, "theta": 1_000_000.0, "k": 2, "none": nil,
    "empty": [], "list": [1, [true]], "nested": ["a": [:]], "nan": .number(.nan),
  ]
  #expect(
    String(decoding: value.serialised(.pretty), as: UTF8.self) == """
      {
        "model_type": "mixtral",
        "eps": 1e-06,
        "theta": 1000000.0,
        "k": 2,
        "none": null,
        "empty": [],
        "list": [
          1,
          [
            true
          ]
        ],
        "nested": {
          "a": {}
        },
        "nan": null
      }

      """)
  #expect(
    String(decoding: value.serialised(.compact), as: UTF8.self)
      == #"{"model_type":"mixtral","eps":1e-06,"theta":1000000.0,"k":2,"none":null,"empty":[],"#
      + #""list":[1,[true]],"nested":{"a":{}},"nan":null}"#)
}

@Test func `members are read, set and removed by key`() throws {
  var value = try parse(#"{"k": 2, "eps": 0.5, "name": "m", "on": true, "list": [1]}"#)
  #expect(value["k"]?.intValue == 2 && value["k"]?.doubleValue == 2)
  #expect(value["eps"]?.intValue == nil && value["eps"]?.doubleValue == 0.5)
  #expect(value["name"]?.stringValue == "m" && value["on"]?.boolValue == true)
  #expect(value["list"]?.arrayValue == [1] && value["absent"] == nil && value["k"]?["x"] == nil)
  value["k"] = 4
  value["eps"] = nil
  value["new"] = "x"
  #expect(value.objectValue.map { Array($0.keys) } == ["k", "name", "on", "list", "new"])
}

@Test func `JSON errors name the byte in the file`() throws {
  let error = #expect(throws: RegateError.self) {
    try JSONValue(parsing: Array(#"{"a": [1, 2, x]}"#.utf8), file: "dir/t.json", origin: 8)
  }
  #expect(error?.file == "dir/t.json" && error?.subject == "byte 21")
}

@Test func `128 levels are read and 129 are not`() throws {
  let text = { String(repeating: "[", count: $0) + String(repeating: "]", count: $0) }
  _ = try parse(text(128))
  #expect(throws: RegateError.self) { try parse(text(129)) }
}

@Test func `UTF-8 is judged as the standard library judges it`() {
  var random = SeededGenerator(seed: 3)
  let pool: [UInt8] = [
    0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xED,
    0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
  ]
  var valid = 0
  for _ in 0..<200_000 {
    let bytes = (0..<Int.random(in: 0...5, using: &random)).map { _ in
      pool.randomElement(using: &random) ?? 0
    }
    let expected = String(validating: bytes, as: UTF8.self) != nil
    #expect((firstInvalidUTF8(in: bytes) == nil) == expected, "\(bytes)")
    valid += expected ? 1 : 0
  }
  #expect(valid > 1000)
}

@Test func `damaged JSON is read or refused, never worse`() throws {
  let value: JSONValue = ["a": [1, -2.5e3, "x\u{1}é😀", nil, true], "b": ["c": [:]]]
  let bytes = value.serialised(.pretty)
  var random = SeededGenerator(seed: 11)
  for _ in 0..<20_000 {
    var damaged = bytes
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      damaged[Int.random(in: damaged.indices, using: &random)] = UInt8.random(
        in: 0...255, using: &random)
    }
    damaged.removeLast(Int.random(in: 0...2, using: &random))
    guard let parsed = try? JSONValue(parsing: damaged, file: "t") else { continue }
    #expect(try JSONValue(parsing: parsed.serialised(.compact), file: "t") == parsed)
  }
}

@Test func `a skipped value leaves the reader behind it`() throws {
  var reader = try JSONReader(Array(#"{"skip":{"a":[1,"]",null]},"keep":7}"#.utf8), file: "t")
  var kept = 0
  try reader.readObject { (reader, key) throws(RegateError) in
    if key == "keep" { kept = try reader.readInteger() } else { try reader.skipValue() }
  }
  try reader.finish()
  #expect(kept == 7)
}

@Test func `the Python dialect takes what Python takes, and counts it`() throws {
  let text =
    #"{"a": [NaN, -Infinity, 1e999], "b": "x\ud83d\u0041\ud83d\ude00\ude00","#
    + #" "c": {"d": 1, "d": 2}}"#
  var reader = try JSONReader(Array(text.utf8), file: "t.json", dialect: .python)
  let value = try reader.readValue()
  try reader.finish()
  #expect(
    value["a"]?.arrayValue?.compactMap(\.doubleValue).map(\.isFinite) == [false, false, false])
  #expect(value["b"] == "x\u{FFFD}A\u{1F600}\u{FFFD}" && value["c"] == ["d": 2])
  #expect(reader.liberties.replacedSurrogates == 2)
  let warning = try #require(reader.liberties.warning(file: "t.json"))
  #expect(warning.contains("t.json: a is NaN (and 2 more); the key c.d is there twice"))
  #expect(throws: RegateError.self) { try parse(text) }
  #expect(throws: RegateError.self) { try parse(#"{"d": 1, "d": 2}"#) }
}

@Test(arguments: [
  #"{"a": -NaN}"#, #"{"a": +1}"#, #"{"a": Inf}"#, #"{"a": 1,}"#, "\u{FEFF}{}", "[01]",
])
func `the Python dialect refuses what Python refuses`(text: String) throws {
  var reader = try JSONReader(Array(text.utf8), file: "t.json", dialect: .python)
  #expect(throws: RegateError.self) { try reader.readValue() }
}

@Test func `values that JSON has not are written as Python reads them`() throws {
  let value: JSONValue = ["a": [.number(.nan), .number(.infinity), .number(-.infinity)]]
  let text = value.serialised(.python)
  #expect(
    String(decoding: text, as: UTF8.self).filter { $0 > " " } == #"{"a":[NaN,Infinity,-Infinity]}"#)
  var reader = try JSONReader(text, file: "t.json", dialect: .python)
  #expect(try reader.readValue()["a"]?.arrayValue?.last == .number(-.infinity))
}
