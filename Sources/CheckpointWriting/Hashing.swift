// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Crypto
import Measures
import Tensors

extension Sequence<Segment> {
  /// SHA-256, in hexadecimal, of the segments one after the other; `progress` gets the bytes done
  /// since its last call.
  package func sha256(progress: (Int) -> Void = { _ in }) -> String {
    var hash = SHA256()
    for segment in self {
      // Hashing cannot fail.
      try? segment.inChunks { (bytes, _) throws(RegateError) in
        hash.update(bytes)
        progress(bytes.byteCount)
      }
    }
    return hash.finalize().hexadecimal
  }
}

extension MappedFile {
  /// SHA-256 of the whole file in hexadecimal; `progress` gets the bytes done since its last call.
  package func sha256(progress: (Int) -> Void = { _ in }) -> String {
    [Segment.range(self, 0..<count)].sha256(progress: progress)
  }
}

/// SHA-256 of each list of segments, in hexadecimal, several at a time.
package func hashes(
  of files: [[Segment]], _ label: String, threads: Int, progress: any ProgressSink
) -> [String] {
  progress.begin(label, total: files.joined().reduce(0) { $0 + $1.count })
  defer { progress.end() }
  return mapBlocks(count: files.count, blockSize: 1, threads: threads) { index, _ in
    files[index].sha256 { progress.advance($0) }
  }
}
