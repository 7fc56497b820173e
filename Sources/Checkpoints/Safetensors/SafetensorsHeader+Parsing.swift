// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import OrderedCollections
import Tensors

extension SafetensorsHeader {
  /// Parses and validates the header of `file`: all of section 2 of the layout in
  /// SafetensorsHeader.swift, for tensor data of `dataCount` bytes.
  package init(parsing bytes: [UInt8], dataCount: Int, file: String) throws(RegateError) {
    guard bytes.first == UInt8(ascii: "{") else {
      throw RegateError(
        .malformed, file: file, subject: "byte 8",
        bytes.first.map { "the header must begin with '{', not with byte \($0)" }
          ?? "the header is empty", advice: "check that this is a safetensors file")
    }
    var reader = try JSONReader(bytes, file: file, origin: 8)
    var entries: [Entry] = []
    var names: Set<String> = []
    var metadata: OrderedDictionary<String, String>?
    try reader.readObject { (reader, key) throws(RegateError) in
      if key == SafetensorsHeader.metadataKey {
        guard metadata == nil else { throw reader.duplicate(key) }
        metadata = try SafetensorsHeader.readMetadata(&reader)
      } else {
        guard names.insert(key).inserted else { throw reader.duplicate(key) }
        entries.append(try SafetensorsHeader.readEntry(&reader, name: key))
      }
    }
    try reader.finish()
    let ordered = entries.enumerated().sorted { (a, b) in
      let (left, right) = (a.element.range, b.element.range)
      return (left.lowerBound, left.upperBound, a.offset)
        < (right.lowerBound, right.upperBound, b.offset)
    }.map(\.element)
    try SafetensorsHeader.requireExactCover(ordered, dataCount: dataCount, file: file)
    self.init(validated: ordered, metadata: metadata)
  }

  private static func readMetadata(
    _ reader: inout JSONReader
  ) throws(RegateError) -> OrderedDictionary<String, String> {
    guard try reader.kind() == .object else {
      throw reader.error("\(metadataKey) must be an object")
    }
    var metadata: OrderedDictionary<String, String> = [:]
    try reader.readObject { (reader, key) throws(RegateError) in
      guard metadata[key] == nil else { throw reader.duplicate(key) }
      let kind = try reader.kind()
      guard kind == .string else {
        throw reader.error("\(metadataKey) value of \"\(key)\" must be a string, not \(kind)")
      }
      metadata[key] = try reader.readString()
    }
    return metadata
  }

  private static func readEntry(
    _ reader: inout JSONReader, name: String
  ) throws(RegateError) -> Entry {
    let file = reader.file
    func problem(_ text: String) -> RegateError {
      RegateError(.malformed, file: file, subject: name, text)
    }
    guard try reader.kind() == .object else { throw problem("its header entry is not an object") }
    var dtype: String?
    var shape: [Int]?
    var offsets: [Int]?
    try reader.readObject { (reader, key) throws(RegateError) in
      switch key {
      case "dtype" where dtype == nil: dtype = try reader.readString()
      case "shape" where shape == nil: shape = try readSizes(&reader, key)
      case "data_offsets" where offsets == nil: offsets = try readSizes(&reader, key)
      case "dtype", "shape", "data_offsets": throw reader.duplicate(key)
      default: throw problem("its header entry has the unknown key \"\(key)\"")
      }
    }
    guard let dtype else { throw problem("its header entry has no dtype") }
    guard let shape else { throw problem("its header entry has no shape") }
    guard let offsets else { throw problem("its header entry has no data_offsets") }
    guard let type = ElementType(safetensors: dtype) else {
      throw problem("unknown dtype \"\(dtype)\"")
    }
    guard offsets.count == 2 else {
      throw problem("data_offsets must be two integers, not \(offsets.count)")
    }
    guard offsets[0] <= offsets[1] else {
      throw problem("data_offsets \(offsets) end before they begin")
    }
    let range = offsets[0]..<offsets[1]
    let needed = try type.byteCount(shape: shape, file: file, subject: name)
    guard needed == range.count else {
      throw problem(
        "\(type.rawValue) \(shape) needs \(needed) bytes, but data_offsets \(offsets) hold "
          + "\(range.count)")
    }
    return Entry(name: name, type: type, shape: shape, range: range)
  }

  private static func readSizes(
    _ reader: inout JSONReader, _ key: String
  ) throws(RegateError) -> [Int] {
    var sizes: [Int] = []
    try reader.readArray { (reader) throws(RegateError) in
      let size = try reader.readInteger()
      guard size >= 0 else { throw reader.error("\(key) holds the negative number \(size)") }
      sizes.append(size)
    }
    return sizes
  }

  /// Requires that `entries`, sorted by offset, cover `0..<dataCount` exactly.
  private static func requireExactCover(
    _ entries: [Entry], dataCount: Int, file: String
  ) throws(RegateError) {
    var end = 0
    var previous: String?
    for entry in entries {
      let begin = entry.range.lowerBound
      guard begin >= end else {
        let other = previous ?? "the header"
        throw RegateError(
          .malformed, file: file, subject: entry.name,
          "its data at offset \(begin) overlap those of \(other), which end at \(end)")
      }
      guard begin == end else {
        throw RegateError(
          .malformed, file: file, subject: entry.name,
          "its data begin at offset \(begin), which leaves a hole of \(begin - end) bytes")
      }
      end = entry.range.upperBound
      previous = entry.name
    }
    guard end <= dataCount else {
      throw RegateError(
        .malformed, file: file, subject: previous,
        "its data end at offset \(end), but the file holds only \(dataCount) bytes of data",
        advice: "the file is truncated: fetch it again")
    }
    guard end == dataCount else {
      throw RegateError(
        .malformed, file: file,
        "has \(dataCount - end) trailing bytes after the last tensor")
    }
  }
}
