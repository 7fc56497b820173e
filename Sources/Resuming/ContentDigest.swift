// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Checkpoints
package import Crypto
import Foundation
import Measures
import OrderedCollections

/// Digests of big files by their size, their header and samples of the rest: enough to tell two
/// checkpoints apart without reading them. Times do not count: a copy is the same.
package enum ContentDigest {
  private static let blockBytes = 4096
  private static let blocks = 64
  private static let chunkBytes = 1 << 22

  package static func of(_ checkpoint: any Checkpoint) throws(RegateError) -> String {
    var hash = SHA256()
    for (number, file) in checkpoint.files.enumerated() {
      let tensors = checkpoint.tensors.values.lazy.filter { $0.file == number }
      let header = tensors.map(\.range.lowerBound).min() ?? 0
      try update(&hash, file, header: header)
    }
    // Samples of files alone could leave out a whole tensor.
    hash.update(data: Data(try WeightsIdentity(checkpoint).sample.utf8))
    if let config = checkpoint.config {
      hash.update(data: Data(config.serialised(.compact)))
    }
    return text(hash)
  }

  package static func of(_ files: [MappedFile]) throws(RegateError) -> String {
    var hash = SHA256()
    for file in files { try update(&hash, file, header: 0) }
    return text(hash)
  }

  /// SHA-256 of all bytes of the file at `path`.
  package static func whole(_ path: String) throws(RegateError) -> String {
    let file = try MappedFile(path: path)
    var hash = SHA256()
    for start in stride(from: 0, to: file.count, by: chunkBytes) {
      let part = start..<min(start + chunkBytes, file.count)
      try file.withBytes(in: part) { hash.update($0) }
      file.discard(part)
    }
    return text(hash)
  }

  package static func update(_ hash: inout SHA256, _ numbers: [Int]) {
    let words = numbers.map { Int64($0).littleEndian }
    words.withBytes { hash.update($0) }
  }

  package static func text(_ hash: SHA256) -> String {
    hash.finalize().hexadecimal
  }

  private static func update(_ hash: inout SHA256, _ file: MappedFile, header: Int)
    throws(RegateError)
  {
    update(&hash, [file.count])
    try file.withBytes(in: 0..<header) { hash.update($0) }
    let rest = file.count - header
    for block in 0..<blocks {
      let start = header + rest / blocks * block
      let range = start..<min(start + blockBytes, file.count)
      try file.sample(range).withBytes { hash.update($0) }
    }
  }
}
