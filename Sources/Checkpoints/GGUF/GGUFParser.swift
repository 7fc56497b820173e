// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import OrderedCollections
import Tensors

/// A tensor entry and the data offset that the file gives for it.
typealias GGUFListedTensor = (entry: GGUFTensorEntry, offset: UInt64)

/// Reads the parts of a GGUF header in file order. Every count is checked against the bytes that
/// remain; where elements have no fixed size, storage grows with what was really read, since a
/// false count in a file of many gigabytes passes that check.
struct GGUFParser {
  /// Room for the strings of any known vocabulary.
  private static let reservedStrings = 1 << 18

  private var reader: ByteReader
  private let path: String

  init(_ file: MappedFile) {
    reader = ByteReader(file)
    path = file.path
  }

  /// Where the next read starts.
  var offset: Int { reader.offset }

  /// Bytes that the rest of the header may have.
  private var remaining: Int {
    max(0, min(reader.remaining, GGUFLimit.headerBytes - reader.offset))
  }

  private mutating func number<T: FixedWidthInteger & BitwiseCopyable>(
    _ what: String
  ) throws(RegateError) -> T {
    try reader.read(T.self, what)
  }

  // MARK: Preamble

  mutating func preamble() throws(RegateError) -> (version: UInt32, tensors: Int, keys: Int) {
    try checkMagic()
    let version: UInt32 = try number("GGUF version")
    guard version == 0 || version & 0xFFFF != 0 else {
      throw RegateError(
        .unsupported, file: path, "is a big-endian GGUF file",
        advice: "convert it with gguf-py's gguf_convert_endian.py")
    }
    guard version != 1 else {
      throw RegateError(
        .unsupported, file: path, "is GGUF version 1, which no current program reads",
        advice: "convert the original model again, or fetch a newer file")
    }
    guard version == 2 || version == 3 else {
      throw RegateError(
        .unsupported, file: path, "is GGUF version \(version); known are versions 2 and 3")
    }
    let tensors: UInt64 = try number("tensor count")
    let keys: UInt64 = try number("key count")
    // The shortest pair: one-byte key and one-byte value. The shortest tensor: one-byte name, no
    // dimensions.
    return (
      version,
      try checkedCount(tensors, minimumBytes: 8 + 1 + 4 + 4 + 8, "tensor count"),
      try checkedCount(keys, minimumBytes: 8 + 1 + 4 + 1, "key count")
    )
  }

  private mutating func checkMagic() throws(RegateError) {
    guard reader.remaining >= 4 else {
      throw RegateError(
        .malformed, file: path, "has \(reader.remaining) bytes, too few for a GGUF file")
    }
    let magic = try reader.readBytes(4, "magic")
    switch String(decoding: magic, as: UTF8.self) {
    case "GGUF": return
    case "lmgg", "fmgg", "tjgg", "algg":
      throw RegateError(
        .unsupported, file: path, "is a ggml file from before GGUF",
        advice: "fetch or convert the model as GGUF")
    case "vers":
      throw RegateError(
        .malformed, file: path, "is not GGUF; it looks like a Git LFS pointer",
        advice: "fetch the file itself with `git lfs pull`")
    default:
      let digits = magic.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
      throw RegateError(
        .malformed, file: path,
        "starts with bytes \(digits.joined(separator: " ")), expected 47 47 55 46 (\"GGUF\")")
    }
  }

  private func checkedCount(
    _ count: UInt64, minimumBytes: Int, _ what: String
  ) throws(RegateError) -> Int {
    guard count <= UInt64(remaining / minimumBytes) else {
      throw RegateError(
        .malformed, file: path, subject: what,
        "is \(count), more than the remaining \(remaining) bytes of a header can hold")
    }
    return Int(count)
  }

  // MARK: Metadata

  mutating func metadata(
    count: Int
  ) throws(RegateError) -> OrderedDictionary<String, GGUFValue> {
    var metadata: OrderedDictionary<String, GGUFValue> = [:]
    for index in 0..<count {
      let key = try name("key \(index)", limit: GGUFLimit.keyBytes)
      guard !key.isEmpty else {
        throw RegateError(.malformed, file: path, subject: "key \(index)", "the key is empty")
      }
      let type = try valueType(key)
      let value = try value(of: type, key)
      guard metadata.updateValue(value, forKey: key) == nil else {
        throw RegateError(.malformed, file: path, subject: key, "the key occurs twice")
      }
    }
    return metadata
  }

  private mutating func valueType(_ key: String) throws(RegateError) -> GGUFValueType {
    let id: UInt32 = try number(key)
    guard let type = GGUFValueType(rawValue: id) else {
      throw RegateError(
        .malformed, file: path, subject: key, "has value type \(id); known are 0 to 12")
    }
    return type
  }

  private mutating func value(
    of type: GGUFValueType, _ key: String
  ) throws(RegateError) -> GGUFValue {
    switch type {
    case .uint8: return .uint8(try number(key))
    case .int8: return .int8(try number(key))
    case .uint16: return .uint16(try number(key))
    case .int16: return .int16(try number(key))
    case .uint32: return .uint32(try number(key))
    case .int32: return .int32(try number(key))
    case .uint64: return .uint64(try number(key))
    case .int64: return .int64(try number(key))
    case .float32: return .float32(Float(bitPattern: try number(key)))
    case .float64: return .float64(Double(bitPattern: try number(key)))
    case .bool: return .bool(try bools(1, key)[0])
    case .string:
      let bytes = try stringBytes(key)
      guard let text = String(validating: bytes, as: UTF8.self) else { return .rawString(bytes) }
      return .string(text)
    case .array: return .array(try array(key, depth: 1))
    }
  }

  private mutating func array(_ key: String, depth: Int) throws(RegateError) -> GGUFArray {
    guard depth <= GGUFLimit.arrayDepth else {
      throw RegateError(
        .unsupported, file: path, subject: key,
        "nests arrays more than \(GGUFLimit.arrayDepth) deep")
    }
    let type = try valueType(key)
    let count = try elementCount(of: type, key)
    switch type {
    case .uint8: return .uint8(try reader.readBytes(count, key))
    case .int8: return .int8(try numbers(count, key))
    case .uint16: return .uint16(try numbers(count, key))
    case .int16: return .int16(try numbers(count, key))
    case .uint32: return .uint32(try numbers(count, key))
    case .int32: return .int32(try numbers(count, key))
    case .uint64: return .uint64(try numbers(count, key))
    case .int64: return .int64(try numbers(count, key))
    case .float32: return .float32(try numbers(count, key).map { Float(bitPattern: $0) })
    case .float64: return .float64(try numbers(count, key).map { Double(bitPattern: $0) })
    case .bool: return .bool(try bools(count, key))
    case .string: return .string(try strings(count, key))
    case .array:
      var arrays: [GGUFArray] = []
      for _ in 0..<count { arrays.append(try array(key, depth: depth + 1)) }
      return .array(arrays)
    }
  }

  private mutating func elementCount(
    of type: GGUFValueType, _ key: String
  ) throws(RegateError) -> Int {
    let count: UInt64 = try number(key)
    guard count <= UInt64(GGUFLimit.arrayElements) else {
      throw RegateError(
        .malformed, file: path, subject: key,
        "is an array of \(count) elements; ggml reads at most \(GGUFLimit.arrayElements)")
    }
    guard count <= UInt64(remaining / type.minimumBytes) else {
      throw RegateError(
        .malformed, file: path, subject: key,
        "is an array of \(count) elements, more than the remaining \(remaining) bytes of a header"
          + " can hold")
    }
    return Int(count)
  }

  private mutating func numbers<T: FixedWidthInteger & BitwiseCopyable>(
    _ count: Int, _ key: String
  ) throws(RegateError) -> [T] {
    let width = MemoryLayout<T>.size
    let start = reader.offset
    try reader.skip(count * width, key)
    return try reader.file.withBytes(in: start..<reader.offset) { bytes in
      (0..<count).map { bytes.integer(at: $0 * width) }
    }
  }

  private mutating func bools(_ count: Int, _ key: String) throws(RegateError) -> [Bool] {
    let bytes = try reader.readBytes(count, key)
    if let wrong = bytes.first(where: { $0 > 1 }) {
      throw RegateError(
        .malformed, file: path, subject: key, "a bool is stored as \(wrong), must be 0 or 1")
    }
    return bytes.map { $0 == 1 }
  }

  // MARK: Strings

  private mutating func stringLength(_ what: String) throws(RegateError) -> Int {
    let length: UInt64 = try number(what)
    guard length <= UInt64(GGUFLimit.stringBytes) else {
      throw RegateError(
        .malformed, file: path, subject: what,
        "has a string of \(length) bytes; ggml reads at most \(GGUFLimit.stringBytes)")
    }
    guard length <= UInt64(remaining) else {
      throw RegateError(
        .malformed, file: path, subject: what,
        "has a string of \(length) bytes, but only \(remaining) remain for the header")
    }
    return Int(length)
  }

  private mutating func stringBytes(_ what: String) throws(RegateError) -> [UInt8] {
    try reader.readBytes(try stringLength(what), what)
  }

  /// Finds the strings of an array and copies them in one piece.
  private mutating func strings(_ count: Int, _ key: String) throws(RegateError) -> GGUFStrings {
    let start = reader.offset
    var starts: [Int] = []
    starts.reserveCapacity(min(count, GGUFParser.reservedStrings))
    for _ in 0..<count {
      let length = try stringLength(key)
      starts.append(reader.offset - start)
      try reader.skip(length, key)
    }
    return GGUFStrings(encoded: try reader.file.bytes(in: start..<reader.offset), starts: starts)
  }

  /// A key or a tensor name: valid UTF-8 of limited length.
  private mutating func name(_ what: String, limit: Int) throws(RegateError) -> String {
    let bytes = try stringBytes(what)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw RegateError(
        .malformed, file: path, subject: what, "the name is not valid UTF-8")
    }
    guard bytes.count <= limit else {
      throw RegateError(
        .malformed, file: path, subject: "\(what) (\(text.prefix(48))...)",
        "the name has \(bytes.count) bytes; at most \(limit) are read")
    }
    return text
  }

  // MARK: Tensors

  mutating func tensors(count: Int) throws(RegateError) -> [GGUFListedTensor] {
    var listed: [GGUFListedTensor] = []
    var names: Set<String> = []
    for index in 0..<count {
      let name = try name("tensor \(index)", limit: GGUFLimit.nameBytes)
      guard names.insert(name).inserted else {
        throw RegateError(.malformed, file: path, subject: name, "the tensor name occurs twice")
      }
      let shape = try shape(name)
      let type = try elementType(name)
      let offset: UInt64 = try number(name)
      listed.append((GGUFTensorEntry(name: name, type: type, shape: shape), offset))
    }
    return listed
  }

  private mutating func shape(_ name: String) throws(RegateError) -> [Int] {
    let count: UInt32 = try number(name)
    guard count <= UInt32(GGUFLimit.dimensions) else {
      throw RegateError(
        .malformed, file: path, subject: name,
        "has \(count) dimensions; ggml reads at most \(GGUFLimit.dimensions)")
    }
    var shape: [Int] = []
    for _ in 0..<count {
      let dimension: Int64 = try number(name)
      guard dimension >= 0 else {
        throw RegateError(
          .malformed, file: path, subject: name, "has a dimension of \(dimension) elements")
      }
      shape.append(Int(dimension))
    }
    return shape.reversed()
  }

  private mutating func elementType(_ name: String) throws(RegateError) -> ElementType {
    let id: UInt32 = try number(name)
    if let type = ElementType(ggmlID: id) { return type }
    if let removed = ElementType.removedGGMLTypes[id] {
      throw RegateError(
        .unsupported, file: path, subject: name,
        "has ggml type \(id) (\(removed)), which ggml has removed",
        advice: "quantise the model again with a current llama.cpp")
    }
    throw RegateError(
      .unsupported, file: path, subject: name,
      "has ggml type \(id), which ggml 0.25 does not know")
  }
}
