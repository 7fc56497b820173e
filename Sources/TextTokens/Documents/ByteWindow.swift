// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints

/// A file read from its start to its end, of which only what is at hand is in memory.
struct ByteWindow {
  private enum Source {
    case mapped(MappedFile)
    case compressed(Gzip)
  }

  /// How much is read at a time, in bytes.
  private static let piece = 1 << 18

  private var source: Source
  private var read = 0
  /// What is at hand.
  private(set) var bytes: [UInt8] = []
  /// The next byte of `bytes` that nobody took.
  var position = 0

  /// Bytes of the text that were taken so far.
  var offset: Int { read - bytes.count + position }

  init(_ file: MappedFile, isCompressed: Bool) throws(RegateError) {
    source = isCompressed ? .compressed(try Gzip(file)) : .mapped(file)
  }

  /// Drops what was taken and reads on; false at the end of the file.
  mutating func fill() throws(RegateError) -> Bool {
    guard let next = try next() else { return false }
    bytes.removeSubrange(..<position)
    position = 0
    bytes += next
    read += next.count
    return true
  }

  /// Takes all up to `end`, an index of `bytes`.
  mutating func take(to end: Int) -> [UInt8] {
    defer { position = end }
    return Array(bytes[position..<end])
  }

  /// Moves to the next byte that is no white space; false where there is none.
  mutating func skipSpace() throws(RegateError) -> Bool {
    while true {
      while position < bytes.count {
        guard [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) else { return true }
        position += 1
      }
      guard try fill() else { return false }
    }
  }

  private mutating func next() throws(RegateError) -> [UInt8]? {
    switch source {
    case .mapped(let file):
      let piece = read..<min(read + ByteWindow.piece, file.count)
      guard !piece.isEmpty else { return nil }
      defer { file.discard(piece) }
      return try file.bytes(in: piece)
    case .compressed(var gzip):
      defer { source = .compressed(gzip) }
      return try gzip.next()
    }
  }
}
