// SPDX-License-Identifier: Apache-2.0

import CSystem
import Foundation

/// How fast files are read and written here, tried for about a second each.
package enum DiskTrial {
  private static let seconds = 1.0
  private static let readBytes = 16 << 20
  /// Written and brought to the disk at a time.
  private static let writtenBytes = 32 << 20
  /// A part of it, of numbers that no file system makes smaller.
  private static let randomBytes = 1 << 20

  /// Bytes per second that `files` are read at, in pieces from all over them: from memory, where
  /// they are there already.
  package static func readingRate(_ files: [MappedFile]) throws(RegateError) -> Double {
    let pieces = files.flatMap { file in
      stride(from: 0, to: file.count, by: readBytes).map {
        (file: file, range: $0..<min($0 + readBytes, file.count))
      }
    }
    var trial = Trial()
    // A prime goes through all of them, and soon from end to end.
    for number in pieces.indices where trial.goesOn {
      let piece = pieces[number * 7919 % pieces.count]
      trial.bytes += try piece.file.sample(piece.range).count
    }
    return trial.rate
  }

  /// Bytes per second that a new file beside `path` is written at until it is on the disk; nil
  /// where that cannot be tried. The file has no name.
  package static func writingRate(beside path: String) -> Double? {
    let folder = path.directory
    guard Volume.freeBytes(near: folder) ?? .max > 1 << 30 else { return nil }
    let descriptor = unsafe regate_open_unnamed(folder)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var random = SystemRandomNumberGenerator()
    let part = (0..<randomBytes / 8).flatMap { _ in random.next().littleEndianBytes }
    var trial = Trial()
    while trial.goesOn {
      for _ in 0..<writtenBytes / randomBytes {
        // SAFETY: `write` reads `part.count` bytes of it, inside the call.
        let count = unsafe part.withUnsafeBytes {
          unsafe write(descriptor, $0.baseAddress, $0.count)
        }
        guard count == part.count else { return nil }
      }
      guard fsync(descriptor) == 0 else { return nil }
      trial.bytes += writtenBytes
    }
    return trial.rate
  }

  private struct Trial {
    private let start = ContinuousClock.now
    var bytes = 0

    private var elapsed: Double { (ContinuousClock.now - start) / .seconds(1) }
    var goesOn: Bool { elapsed < DiskTrial.seconds }
    var rate: Double { Double(max(1, bytes)) / max(1e-6, elapsed) }
  }
}
