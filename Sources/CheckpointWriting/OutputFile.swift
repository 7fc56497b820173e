// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

/// One file of an output: its name and, from the first byte to the last, where its bytes come
/// from. Nothing of it is held in memory but headers and routers.
package struct OutputFile: Sendable {
  /// Relative to the output directory; for a single-file output, its name.
  package let name: String
  package private(set) var segments: [Segment] = []

  package init(name: String, segments: [Segment] = []) {
    self.name = name
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
  private var whole: MappedFile? {
    guard segments.count == 1, case .range(let file, let range) = segments[0],
      range == 0..<file.count
    else { return nil }
    return file
  }

  /// The file of the original that this differs from in some ranges only.
  private var near: MappedFile? {
    for case .range(let file, _) in segments where file.count == byteCount { return file }
    return nil
  }

  /// Writes the file to `path` and syncs it; `progress` gets the bytes done since its last call.
  /// With `linking`, a file that does not differ from the original's becomes a hard link to it.
  @discardableResult
  package func write(
    to path: String, linking: Bool = false, progress: (Int) -> Void
  ) throws(RegateError) -> OutputMethod {
    if linking, let whole, HardLink.make(path, to: whole.path) {
      progress(byteCount)
      return .linked
    }
    var writer = try FileWriter(creating: path)
    if let near, writer.clone(near) {
      try overwrite(differencesFrom: near, with: writer, progress: progress)
      try writer.sync()
      return .shared
    }
    try write(into: &writer, progress: progress)
    try writer.sync()
    return .copied
  }

  /// Appends all of the file's bytes to `writer`; `progress` gets the bytes done since its last
  /// call.
  func write(
    into writer: inout FileWriter, progress: (Int) -> Void = { _ in }
  ) throws(RegateError) {
    /// Small enough for a smooth progress line, large enough to cost nothing.
    let step = 64 << 20
    for segment in segments {
      switch segment {
      case .bytes(let bytes):
        try writer.write(bytes)
        progress(bytes.count)
      case .range(let file, let range):
        var position = range.lowerBound
        while position < range.upperBound {
          let part = position..<min(position + step, range.upperBound)
          try writer.copy(from: file, range: part)
          progress(part.count)
          position = part.upperBound
        }
      }
    }
  }

  /// Writes the segments that are not `base`'s own bytes at their own place.
  private func overwrite(
    differencesFrom base: MappedFile, with writer: borrowing FileWriter, progress: (Int) -> Void
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
      progress(segment.count)
      position += segment.count
    }
  }
}

extension Segment {
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
