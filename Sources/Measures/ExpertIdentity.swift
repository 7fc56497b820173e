// SPDX-License-Identifier: Apache-2.0
//
// Which expert is which, told by their bytes alone: SHA-256 over everything that belongs to an
// expert. Clones and renumbered experts are recognised whatever a side file claims.

package import Architectures
package import ByteStorage
package import Checkpoints
package import Crypto
import Routing
import Tensors

package enum ExpertIdentity {
  /// Bytes hashed between two looks at the clock and the page cache.
  private static let chunk = 16 << 20

  /// The digest of each expert [E] of a layer; `progress` gets the bytes done, and may stop the
  /// work.
  package static func digests(
    of layer: MoELayer, in checkpoint: any Checkpoint, threads: Int,
    progress: any ProgressSink
  ) throws(RegateError) -> [SHA256.Digest] {
    let digests = mapBlocks(count: layer.rule.experts, blockSize: 1, threads: threads) {
      expert, _ in
      Result { () throws(RegateError) in
        try digest(of: expert, layer, in: checkpoint, progress: progress)
      }
    }
    var result: [SHA256.Digest] = []
    for digest in digests { result.append(try digest.get()) }
    return result
  }

  private static func digest(
    of expert: Int, _ layer: MoELayer, in checkpoint: any Checkpoint, progress: any ProgressSink
  ) throws(RegateError) -> SHA256.Digest {
    var hash = SHA256()
    for part in layer.experts {
      let (tensor, bytes) = part.slice(expert: expert)
      let start = tensor.range.lowerBound + bytes.lowerBound
      let file = checkpoint.files[tensor.file]
      var position = start
      while position < start + bytes.count {
        try progress.requireWanted()
        let range = position..<min(position + chunk, start + bytes.count)
        try file.withBytes(in: range) { hash.update($0) }
        file.discard(range)
        progress.advance(range.count)
        position = range.upperBound
      }
    }
    return hash.finalize()
  }

  /// The logical expert of each physical one of the original: the lowest number with the same
  /// bytes.
  package static func logicalExperts(of digests: [SHA256.Digest]) -> [Int] {
    var first: [SHA256.Digest: Int] = [:]
    return digests.enumerated().map { expert, digest in
      if let known = first[digest] { return known }
      first[digest] = expert
      return expert
    }
  }

  /// The logical expert of each physical one of `patched`, in the original's numbering.
  package static func logicalExperts(
    of patched: [SHA256.Digest], original: [SHA256.Digest], layer: Int, path: String
  ) throws(RegateError) -> [Int] {
    var known: [SHA256.Digest: Int] = [:]
    for (expert, digest) in original.enumerated().reversed() { known[digest] = expert }
    var map: [Int] = []
    for (physical, digest) in patched.enumerated() {
      guard let logical = known[digest] else {
        throw RegateError(
          .mismatch, file: path, subject: "layer \(layer), expert \(physical)",
          "its bytes are those of no expert of the original's layer",
          advice:
            "give the checkpoint that this one was made from, or compare two trainings of one "
            + "model with `LoadDrift`")
      }
      map.append(logical)
    }
    return map
  }
}
