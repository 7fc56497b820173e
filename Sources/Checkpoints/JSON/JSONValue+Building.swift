// SPDX-License-Identifier: Apache-2.0

import OrderedCollections

extension JSONValue {
  /// A number, or null where it is undefined.
  package static func optional(_ value: Double?) -> JSONValue {
    value.map { $0.isFinite ? .number($0) : .null } ?? .null
  }

  package static func optional(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }

  package static func integers(_ values: [Int]) -> JSONValue {
    .array(values.map { .integer($0) })
  }

  package static func integers(_ rows: [[Int]]) -> JSONValue { .array(rows.map(integers)) }

  /// Whether this is an array of arrays of integers.
  package var isMatrixOfIntegers: Bool {
    arrayValue?.allSatisfy { $0.arrayValue?.allSatisfy { $0.intValue != nil } ?? false } ?? false
  }

  /// An object from numbers, written as text, to values.
  package static func byNumber(_ pairs: [(Int, Double?)]) -> JSONValue {
    var object: JSONValue = .object([:])
    for (number, value) in pairs { object[String(number)] = .optional(value) }
    return object
  }
}

/// A value that encodes as its `json` does: with keys in snake_case, and null where something is
/// undefined.
public protocol JSONRepresentable: Encodable {
  var json: JSONValue { get }
}

extension JSONRepresentable {
  public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}

extension JSONValue: Encodable {
  /// Writes the tree into any encoder; members keep their order where the encoder keeps it.
  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .object(let members):
      var container = encoder.container(keyedBy: Key.self)
      for (name, value) in members { try container.encode(value, forKey: Key(stringValue: name)) }
    case .array(let values):
      var container = encoder.unkeyedContainer()
      for value in values { try container.encode(value) }
    case .string(let text): try text.encode(to: encoder)
    case .integer(let number): try number.encode(to: encoder)
    case .number(let number): try number.encode(to: encoder)
    case .bool(let flag): try flag.encode(to: encoder)
    case .null:
      var container = encoder.singleValueContainer()
      try container.encodeNil()
    }
  }

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
