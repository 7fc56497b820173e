// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// One file of an output: its name and, from the first byte to the last, where its bytes come
/// from. Nothing of it is held in memory but headers and routers.
package struct OutputFile: Sendable {
  /// Relative to the output directory; for a single-file output, its name.
  package let name: String
  package private(set) var segments: [Segment] = []
  /// For a file of weights, how many bytes at its beginning tell names, types and places: these
  /// are written before any others.
  package let head: Int?

  package init(name: String, head: Int? = nil, segments: [Segment] = []) {
    self.name = name
    self.head = head
    append(segments)
  }

  package var byteCount: Int { segments.reduce(0) { $0 + $1.count } }

  /// Appends segments; neighbouring ranges of one file become one, so that copies are long.
  package mutating func append(_ more: [Segment]) {
    for segment in more where segment.count > 0 {
      if case .range(let file, let range) = segment,
        case .range(let lastFile, let last)? = segments.last,
        file === lastFile, last.upperBound == range.lowerBound
      {
        segments[segments.count - 1] = .range(file, last.lowerBound..<range.upperBound)
      } else {
        segments.append(segment)
      }
    }
  }

  /// The file of the original that this is all of.
  package var whole: MappedFile? {
    guard segments.count == 1, case .range(let file, let range) = segments[0],
      range == 0..<file.count
    else { return nil }
    return file
  }

  /// The file of the original that this differs from in some ranges only.
  package var near: MappedFile? {
    for case .range(let file, _) in segments where file.count == byteCount { return file }
    return nil
  }

  /// Appends all of the file's bytes to `writer`.
  func write(into writer: inout FileWriter) throws(RegateError) {
    for segment in segments { try segment.write(into: &writer) }
  }

  /// Writes the segments that are not `base`'s own bytes at their own place.
  package func overwrite(
    differencesFrom base: MappedFile, with writer: borrowing FileWriter
  ) throws(RegateError) {
    var position = 0
    for segment in segments {
      switch segment {
      case .range(let file, let range) where file === base && range.lowerBound == position: break
      default:
        try segment.inChunks { (bytes, offset) throws(RegateError) in
          try writer.overwrite(bytes, at: position + offset)
        }
      }
      position += segment.count
    }
  }
}

extension Segment {
  /// The part of the segment that begins `start` bytes after its first and has `count`.
  func part(_ start: Int, _ count: Int) -> Segment {
    switch self {
    case .bytes(let bytes): .bytes(Array(bytes[start..<start + count]))
    case .range(let file, let range):
      .range(file, range.lowerBound + start..<range.lowerBound + start + count)
    }
  }

  func write(into writer: inout FileWriter) throws(RegateError) {
    switch self {
    case .bytes(let bytes): try writer.write(bytes)
    case .range(let file, let range): try writer.copy(from: file, range: range)
    }
  }

  /// Calls `body` with the bytes, piece by piece, and the place of each piece in the segment.
  package func inChunks(
    _ body: (RawSpan, Int) throws(RegateError) -> Void
  ) throws(RegateError) {
    let chunk = 8 << 20
    switch self {
    case .bytes(let bytes):
      try bytes.withBytes { (bytes) throws(RegateError) in try body(bytes, 0) }
    case .range(let file, let range):
      var position = range.lowerBound
      while position < range.upperBound {
        let part = position..<min(position + chunk, range.upperBound)
        try file.withBytes(in: part) { (bytes) throws(RegateError) in
          try body(bytes, part.lowerBound - range.lowerBound)
        }
        file.discard(part)
        position = part.upperBound
      }
    }
  }
}
