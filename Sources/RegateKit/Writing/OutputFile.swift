// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// One file of an output: its name and, from the first byte to the last, where its bytes come
/// from. Nothing of it is held in memory but headers and routers.
struct OutputFile: Sendable {
  /// Relative to the output directory; for a single-file output, its name.
  let name: String
  private(set) var segments: [Segment] = []

  init(name: String, segments: [Segment] = []) {
    self.name = name
    append(segments)
  }

  var byteCount: Int { segments.reduce(0) { $0 + $1.count } }

  /// Appends segments; neighbouring ranges of one file become one, so that copies are long.
  mutating func append(_ more: [Segment]) {
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

  /// Writes the file to `path` and syncs it; `progress` gets the bytes done since its last call.
  func write(to path: String, progress: (Int) -> Void) throws(RegateError) {
    /// Small enough for a smooth progress line, large enough to cost nothing.
    let step = 64 << 20
    var writer = try FileWriter(creating: path)
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
    try writer.sync()
  }
}
