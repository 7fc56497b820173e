// SPDX-License-Identifier: Apache-2.0

package import Crypto

extension SHA256 {
  /// Adds `bytes` to what is hashed.
  package mutating func update(_ bytes: RawSpan) {
    // SAFETY: the buffer is only read, inside the call.
    unsafe bytes.withUnsafeBytes { unsafe update(bufferPointer: $0) }
  }
}
