// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
import Crypto
import Foundation
import OrderedCollections
import Tensors

/// Writes the difference between files of a checkpoint and files made of them, in constant memory.
package struct DeltaWriter {
  /// A base file with its name; `part` is its number among those that hold tensors.
  package struct Source: Sendable {
    package let name: String
    package let part: Int?
    package let file: MappedFile
  }

  /// Bytes of a file that comes out.
  package enum Part: Sendable {
    /// They are in a source, and only named.
    case copied(source: Int, Range<Int>)
    /// They are stored in the delta.
    case stored(Segment)
  }

  /// A file that comes out.
  package struct Target: Sendable {
    package let name: String
    package let part: Int?
    package let parts: [Part]
    package let sha256: String
  }

  package let kind: Delta.Kind
  package let about: JSONValue
  package let sources: [Source]
  /// SHA-256 of each source, in hexadecimal.
  package let digests: [String]

  /// Writes the delta of `targets`, which takes its name only when it is whole. Returns its size.
  @discardableResult
  package func write(_ targets: [Target], to claim: OutputClaim) throws(RegateError) -> Int {
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
    try Volume.requireFree(header.count + stored, near: claim.path.directory, for: "the delta")
    let file = OutputFile(name: claim.path.lastPathComponent, segments: [.bytes(header)] + literals)
    try AtomicFile.write(to: claim) { (writer) throws(RegateError) in
      try file.write(into: &writer)
      // What was written must read back as what was meant.
      _ = try DeltaFile(path: writer.path)
    }
    return header.count + stored
  }
}
