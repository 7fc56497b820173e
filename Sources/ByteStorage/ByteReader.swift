// SPDX-License-Identifier: Apache-2.0

/// A bounds-checked little-endian cursor over a mapped file.
///
/// Every read is checked against `end` before a byte is touched, so parsers built on it contain no
/// unsafe code. Errors name the file, the byte offset and `what` was being read.
package struct ByteReader {
  package let file: MappedFile
  package private(set) var offset: Int
  package let end: Int

  package init(_ file: MappedFile, range: Range<Int>? = nil) {
    self.file = file
    let range = range ?? 0..<file.count
    precondition(range.lowerBound >= 0 && range.upperBound <= file.count)
    offset = range.lowerBound
    end = range.upperBound
  }

  package var remaining: Int { end - offset }

  /// Reads a fixed-width little-endian integer.
  package mutating func read<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type = T.self, _ what: @autoclosure () -> String
  ) throws(RegateError) -> T {
    let width = MemoryLayout<T>.size
    try require(width, what())
    defer { offset += width }
    return try file.withBytes(in: offset..<offset + width) { $0.integer(at: 0) }
  }

  /// Reads `count` raw bytes.
  package mutating func readBytes(
    _ count: Int, _ what: @autoclosure () -> String
  ) throws(RegateError) -> [UInt8] {
    try require(count, what())
    defer { offset += count }
    return try file.bytes(in: offset..<offset + count)
  }

  /// Moves forward by `count` bytes.
  package mutating func skip(
    _ count: Int, _ what: @autoclosure () -> String
  ) throws(RegateError) {
    try require(count, what())
    offset += count
  }

  private func require(_ count: Int, _ what: @autoclosure () -> String) throws(RegateError) {
    guard count >= 0, count <= remaining else {
      throw RegateError(
        .malformed, file: file.path, subject: what(),
        "needs \(count) bytes at offset \(offset), but only \(remaining) remain",
        advice: "the file may be truncated: fetch it again")
    }
  }
}
