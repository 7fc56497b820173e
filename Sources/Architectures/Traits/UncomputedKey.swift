// SPDX-License-Identifier: Apache-2.0

/// A key with which a runtime computes what Regate does not.
package struct UncomputedKey: Sendable {
  package var name: String
  /// Values, as text, with which nothing changes.
  package var off: Set<String>

  init(_ name: String, off: Set<String>) {
    self.name = name
    self.off = off
  }

  /// Read by llama.cpp for every architecture; false: every token sees later ones.
  package static let causal = UncomputedKey("attention.causal", off: ["true"])
}
