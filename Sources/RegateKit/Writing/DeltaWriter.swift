// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Crypto
import Foundation
import OrderedCollections
import Tensors

/// Writes the difference between files of a checkpoint and files made of them, in constant memory.
struct DeltaWriter {
  /// A base file with its name; `part` is its number among those that hold tensors.
  struct Source: Sendable {
    let name: String
    let part: Int?
    let file: MappedFile
  }

  /// Bytes of a file that comes out.
  enum Part: Sendable {
    /// They are in a source, and only named.
    case copied(source: Int, Range<Int>)
    /// They are stored in the delta.
    case stored(Segment)
  }

  /// A file that comes out.
  struct Target: Sendable {
    let name: String
    let part: Int?
    let parts: [Part]
    let sha256: String
  }

  let kind: Delta.Kind
  let about: JSONValue
  let sources: [Source]
  /// SHA-256 of each source, in hexadecimal.
  let digests: [String]

  /// Writes the delta of `targets` to `path`, which takes its name only when it is whole. Returns
  /// its size.
  @discardableResult
  func write(_ targets: [Target], to path: String, overwrite: Bool) throws(RegateError) -> Int {
    var literals: [Segment] = []
    var stored = 0
    var files: [Delta.File] = []
    for target in targets {
      var pieces: [Delta.Piece] = []
      for part in target.parts {
        switch part {
        case .copied(let source, let range):
          pieces.append(.base(file: source, range))
        case .stored(let segment):
          pieces.append(.data(stored..<stored + segment.count))
          stored += segment.count
          literals.append(segment)
        }
      }
      files.append(
        Delta.File(
          name: target.name, byteCount: pieces.reduce(0) { $0 + $1.count },
          sha256: target.sha256, part: target.part, pieces: pieces))
    }
    let delta = Delta(
      kind: kind, about: about,
      base: zip(sources, digests).map {
        Delta.Base(name: $0.name, byteCount: $0.file.count, sha256: $1, part: $0.part)
      }, files: files)
    let header = try delta.serialised()
    try Volume.requireFree(header.count + stored, near: path.directory, for: "the delta")
    let file = OutputFile(name: path.lastPathComponent, segments: [.bytes(header)] + literals)
    try AtomicFile.write(to: path, overwrite: overwrite) { (writer) throws(RegateError) in
      try file.write(into: &writer)
      // What was written must read back as what was meant.
      _ = try DeltaFile(path: writer.path)
    }
    return header.count + stored
  }
}

extension Sequence<Segment> {
  /// SHA-256, in hexadecimal, of the segments one after the other; `progress` gets the bytes done
  /// since its last call.
  func sha256(progress: (Int) -> Void = { _ in }) -> String {
    var hash = SHA256()
    for segment in self {
      // Hashing cannot fail.
      try? segment.inChunks { (bytes, _) throws(RegateError) in
        hash.update(bytes)
        progress(bytes.byteCount)
      }
    }
    return hash.finalize().map { String(format: "%02x", $0) }.joined()
  }
}
