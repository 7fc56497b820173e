// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Crypto
import Measures
import Tensors

extension Sequence<Segment> {
  /// SHA-256, in hexadecimal, of the segments one after the other; `progress` gets the bytes done,
  /// and may stop the work.
  package func sha256(progress: any ProgressSink = NoProgress()) throws(RegateError) -> String {
    var hash = SHA256()
    for segment in self {
      try segment.inChunks { (bytes, _) throws(RegateError) in
        try progress.requireWanted()
        hash.update(bytes)
        progress.advance(bytes.byteCount)
      }
    }
    return hash.finalize().hexadecimal
  }
}

/// SHA-256 of each list of segments, in hexadecimal, several at a time.
package func hashes(
  of files: [[Segment]], _ label: String, threads: Int, progress: any ProgressSink
) throws(RegateError) -> [String] {
  progress.begin(label, total: files.joined().reduce(0) { $0 + $1.count })
  defer { progress.end() }
  let digests = mapBlocks(count: files.count, blockSize: 1, threads: threads) { index, _ in
    Result { () throws(RegateError) in try files[index].sha256(progress: progress) }
  }
  var result: [String] = []
  for digest in digests { result.append(try digest.get()) }
  return result
}
