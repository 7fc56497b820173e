// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
import OrderedCollections

extension JSONValue {
  /// Largest JSON file that is read: the cap of the safetensors format on its JSON header. (The
  /// index of DeepSeek-V3, with 91,991 tensors, has 9 MB.)
  package static let sizeLimit = SafetensorsHeader.sizeLimit

  /// Parses the whole of `bytes`, which begin `origin` bytes into `file`.
  public init(parsing bytes: [UInt8], file: String, origin: Int = 0) throws(RegateError) {
    var reader = try JSONReader(bytes, file: file, origin: origin)
    self = try reader.readValue()
    try reader.finish()
  }

  /// Parses the file at `path`.
  public init(contentsOf path: String) throws(RegateError) {
    var reader = try JSONReader(contentsOf: path)
    self = try reader.readValue()
    try reader.finish()
  }
}

extension JSONReader {
  /// A reader of the file at `path`.
  package init(contentsOf path: String, dialect: Dialect = .strict) throws(RegateError) {
    let file = try MappedFile(path: path)
    guard file.count <= JSONValue.sizeLimit else {
      throw RegateError(
        .malformed, file: path,
        "has \(file.count) bytes, more than the \(JSONValue.sizeLimit) allowed for JSON",
        advice: "check that this is the right file")
    }
    try self.init(try file.bytes(in: 0..<file.count), file: path, dialect: dialect)
  }

  /// Reads a value of any kind. Of equal keys, which a strict reader rejects, the last counts.
  package mutating func readValue() throws(RegateError) -> JSONValue {
    switch try kind() {
    case .object:
      var members: OrderedDictionary<String, JSONValue> = [:]
      try readObject { (reader, key) throws(RegateError) in
        let keyPosition = reader.keyPosition
        let value = try reader.readValue()
        if members.updateValue(value, forKey: key) != nil {
          try reader.repeated(key, at: keyPosition)
        }
      }
      return .object(members)
    case .array:
      var elements: [JSONValue] = []
      try readArray { (reader) throws(RegateError) in elements.append(try reader.readValue()) }
      return .array(elements)
    case .string: return .string(try readString())
    case .number:
      switch try readNumber() {
      case .integer(let value): return .integer(value)
      case .double(let value): return .number(value)
      }
    case .bool, .null: return try readLiteral().map { .bool($0) } ?? .null
    }
  }
}
