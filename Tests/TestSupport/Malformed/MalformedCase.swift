// SPDX-License-Identifier: Apache-2.0

/// One named defect: files that must be refused, and what the message must say.
///
/// The tables are used by the tests of the readers and by those of the command-line tool.
public struct MalformedCase: Sendable, CustomStringConvertible {
  public let name: String
  /// Occurs in this case's message and in no other of the same table.
  public let fragment: String
  /// What to open, relative to the directory; empty for the directory itself.
  public let target: String
  private let files: @Sendable (TemporaryDirectory) throws -> Void

  public init(
    _ name: String, says fragment: String, target: String = "",
    files: @escaping @Sendable (TemporaryDirectory) throws -> Void
  ) {
    self.name = name
    self.fragment = fragment
    self.target = target
    self.files = files
  }

  public var description: String { name }

  /// Builds the files in `directory` and returns the path to open.
  public func build(in directory: TemporaryDirectory) throws -> String {
    try files(directory)
    return target.isEmpty ? directory.path("") : directory.path(target)
  }
}

/// The bytes of a safetensors file with this header text and `data` zeros. `length` replaces the
/// true header length.
public func safetensorsBytes(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
  let text = Array(header.utf8)
  return littleEndian(length ?? UInt64(text.count)) + text + [UInt8](repeating: 0, count: data)
}

/// A header entry for a tensor of one Float, or whatever `shape` says.
public func entryText(
  _ name: String, shape: String = "[1]", _ begin: Int, _ end: Int
) -> String {
  entryText(name, "F32", shape: shape, begin, end)
}

/// A header entry.
public func entryText(
  _ name: String, _ dtype: String, shape: String = "[1]", _ begin: Int, _ end: Int
) -> String {
  #""\#(name)":{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}"#
}

/// `value` in little-endian bytes.
public func littleEndian<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}
