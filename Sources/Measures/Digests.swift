// SPDX-License-Identifier: Apache-2.0

package import Crypto
import Foundation

extension SHA256.Digest {
  /// The digest in hexadecimal.
  package var hexadecimal: String { map { String(format: "%02x", $0) }.joined() }
}
