// SPDX-License-Identifier: Apache-2.0

/// Builds the bytes of a GGUF file piece by piece, without any of the checks that a writer makes.
/// Independent of the code under test.
public struct GGUFDraft: Sendable {
  /// The first bytes.
  public var magic = Array("GGUF".utf8)
  /// The format version.
  public var version: UInt32 = 3
  /// Encoded key-value pairs.
  public var keys: [[UInt8]]
  /// Encoded tensor entries.
  public var tensors: [[UInt8]] = []
  /// Key count in the header, where it should differ from the truth.
  public var keyCount: UInt64?
  /// Tensor count in the header, where it should differ from the truth.
  public var tensorCount: UInt64?
  /// Where the data section may start.
  public var alignment = 32
  /// Bytes of the data section.
  public var dataBytes = 0

  /// A draft with nothing but an architecture.
  public init(keys: [[UInt8]] = []) {
    self.keys = [GGUFDraft.pair("general.architecture", 8, GGUFDraft.string("llama"))] + keys
  }

  /// The header up to the last tensor entry.
  public var header: [UInt8] {
    magic + GGUFDraft.number(version) + GGUFDraft.number(tensorCount ?? UInt64(tensors.count))
      + GGUFDraft.number(keyCount ?? UInt64(keys.count)) + keys.joined() + tensors.joined()
  }

  /// The whole file.
  public var bytes: [UInt8] {
    let header = header
    let padding = (alignment - header.count % alignment) % alignment
    return header + [UInt8](repeating: 0, count: padding + dataBytes)
  }

  /// A little-endian number.
  public static func number(_ value: some FixedWidthInteger) -> [UInt8] {
    littleEndian(value)
  }

  /// A string with its length, or with a false one.
  public static func string(_ text: String, length: UInt64? = nil) -> [UInt8] {
    number(length ?? UInt64(text.utf8.count)) + Array(text.utf8)
  }

  /// A key with its value type and encoded value.
  public static func pair(_ key: String, _ type: UInt32, _ value: [UInt8]) -> [UInt8] {
    string(key) + number(type) + value
  }

  /// An array value: element type, count, elements.
  public static func array(_ type: UInt32, _ count: UInt64, _ elements: [UInt8]) -> [UInt8] {
    number(type) + number(count) + elements
  }

  /// A tensor entry; dimensions fastest first, as stored.
  public static func tensor(
    _ name: String, _ dimensions: [Int64], type: UInt32 = 0, offset: UInt64 = 0
  ) -> [UInt8] {
    string(name) + number(UInt32(dimensions.count)) + dimensions.flatMap { number($0) }
      + number(type) + number(offset)
  }
}
