// SPDX-License-Identifier: Apache-2.0
//
// A delta, version 1: what a conversion changes, without the bytes that it keeps.
//
// 1. 8 bytes: "REGDELTA".
// 2. u64, little-endian: N, the byte count of the header; at most 100,000,000.
// 3. 32 bytes: the header's SHA-256.
// 4. N bytes: the header, a JSON object in UTF-8.
//    format   regate.delta.v1 (apply to a copy) or regate.undo.v1 (revert in place)
//    about    what was done, for people
//    base     [{"name", "bytes", "sha256", "part"}]: the files that the delta applies to. `part` is
//             the number of a file that holds tensors, in reading order, and null for others.
//    files    [{"name", "bytes", "sha256", "part", "pieces": [..]}]: the files that come out, each
//             from its first byte to its last. A piece [f, start, count] is copied from base file
//             f; a piece [start, count] stands in the data section.
// 5. The data section: the bytes that no base file holds, up to the end of the file.

package import ByteStorage
package import Checkpoints
import Crypto
import OrderedCollections

/// The header of a delta.
package struct Delta: Sendable {
  package enum Kind: String, Sendable {
    case conversion = "regate.delta.v1"
    case undo = "regate.undo.v1"
  }

  /// A file that the delta applies to.
  package struct Base: Sendable {
    package let name: String
    package let byteCount: Int
    package let sha256: String
    /// Its number among the files that hold tensors.
    package let part: Int?
  }

  /// Where bytes of a file that comes out lie.
  package enum Piece: Sendable {
    case base(file: Int, Range<Int>)
    case data(Range<Int>)

    package var count: Int {
      switch self {
      case .base(_, let range), .data(let range): range.count
      }
    }
  }

  /// A file that comes out.
  package struct File: Sendable {
    package let name: String
    package let byteCount: Int
    package let sha256: String
    package let part: Int?
    package let pieces: [Piece]
  }

  package static let magic = Array("REGDELTA".utf8)
  /// As much as safetensors allows for its header.
  package static let headerLimit = 100_000_000

  package let kind: Kind
  package let about: JSONValue
  package let base: [Base]
  package let files: [File]

  /// Where the last piece of the data section ends.
  package var storedBytes: Int {
    files.flatMap(\.pieces).reduce(0) { end, piece in
      if case .data(let range) = piece { max(end, range.upperBound) } else { end }
    }
  }

  /// Bytes up to the data section.
  package func serialised() throws(RegateError) -> [UInt8] {
    let json: JSONValue = [
      "format": .string(kind.rawValue), "about": about,
      "base": .array(
        base.map {
          [
            "name": .string($0.name), "bytes": .integer($0.byteCount),
            "sha256": .string($0.sha256), "part": $0.part.map { .integer($0) } ?? .null,
          ]
        }),
      "files": .array(
        files.map {
          [
            "name": .string($0.name), "bytes": .integer($0.byteCount),
            "sha256": .string($0.sha256), "part": $0.part.map { .integer($0) } ?? .null,
            "pieces": .array($0.pieces.map(\.json)),
          ]
        }),
    ]
    let text = json.serialised(.compact)
    guard text.count <= Delta.headerLimit else {
      throw RegateError(
        .unsupported,
        "the delta's header would have \(text.count) bytes, more than the "
          + "\(Delta.headerLimit) allowed", advice: "write a copy instead")
    }
    return Delta.magic + UInt64(text.count).littleEndianBytes + Delta.digest(text) + text
  }

  /// SHA-256 of the header's text.
  package static func digest(_ text: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: text)) }
}

extension Delta.Piece {
  fileprivate var json: JSONValue {
    switch self {
    case .base(let file, let range):
      [.integer(file), .integer(range.lowerBound), .integer(range.count)]
    case .data(let range): [.integer(range.lowerBound), .integer(range.count)]
    }
  }
}
