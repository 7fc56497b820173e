// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Crypto
import Measures

/// A range of an output's file and the bytes that must stand there.
struct PlannedBytes {
  let tensor: String
  let place: Range<Int>
  let source: Segment
}

/// Follows the writing of a file: reads again what was written, compares it with what was planned,
/// and hashes it.
package final class FileCheck: Sendable {
  private let file: MappedFile
  /// By place.
  private let planned: [PlannedBytes]
  private let state = Locked(State())

  private static let chunk = 8 << 20

  private struct State {
    var position = 0
    /// The first of the planned ranges that does not end before `position`.
    var next = 0
    var hash = SHA256()
  }

  /// Checks `file`, which has its final size, against `planned`.
  init(_ file: MappedFile, planned: [PlannedBytes] = []) {
    self.file = file
    self.planned = planned.sorted { $0.place.lowerBound < $1.place.lowerBound }
  }

  /// Opens the file at `path`, of which nothing is planned: it is hashed only.
  package convenience init(path: String) throws(RegateError) {
    self.init(try MappedFile(path: path))
  }

  /// Checks the bytes before `end`, which are written; `progress` gets how many are new.
  package func advance(
    to end: Int, progress: any ProgressSink
  ) throws(RegateError) {
    try state.withLock { (state) throws(RegateError) in
      while state.position < end {
        try progress.requireWanted()
        let part = state.position..<min(state.position + FileCheck.chunk, end)
        try file.withBytes(in: part) { (bytes) throws(RegateError) in
          state.hash.update(bytes)
          try compare(bytes, at: part, &state.next)
        }
        file.discard(part)
        progress.advance(part.count)
        state.position = part.upperBound
      }
    }
  }

  /// SHA-256 of what was checked, in hexadecimal.
  package var sha256: String { state.withLock { $0.hash.finalize().hexadecimal } }

  private func compare(
    _ bytes: RawSpan, at part: Range<Int>, _ next: inout Int
  ) throws(RegateError) {
    while next < planned.count, planned[next].place.lowerBound < part.upperBound {
      let piece = planned[next]
      let shared = piece.place.clamped(to: part)
      let written = bytes.extracting(
        shared.lowerBound - part.lowerBound..<shared.upperBound - part.lowerBound)
      try piece.compare(written, from: shared.lowerBound - piece.place.lowerBound, in: file)
      guard piece.place.upperBound <= part.upperBound else { return }
      next += 1
    }
  }
}

extension PlannedBytes {
  /// Compares `written`, a part of what stands in `file`, with what was planned there.
  fileprivate func compare(
    _ written: RawSpan, from start: Int, in file: MappedFile
  ) throws(RegateError) {
    switch source {
    case .bytes(let bytes):
      let equal = bytes.withBytes {
        $0.extracting(start..<start + written.byteCount).elementsEqual(written)
      }
      guard equal else { throw failure("differs from the router that was fitted", in: file) }
    case .range(let original, let range):
      let first = range.lowerBound + start
      // A hard link to the original.
      if original.identity == file.identity, first == place.lowerBound + start { return }
      let part = first..<first + written.byteCount
      let equal = try original.withBytes(in: part) { $0.elementsEqual(written) }
      original.discard(part)
      guard equal else {
        throw failure("differs from the bytes that it should hold", in: file)
      }
    }
  }

  private func failure(_ problem: String, in file: MappedFile) -> RegateError {
    Verification.failure(tensor, problem, in: file.path)
  }
}
