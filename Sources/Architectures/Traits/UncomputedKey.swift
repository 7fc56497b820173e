// SPDX-License-Identifier: Apache-2.0

/// A key with which a runtime computes what Regate does not.
package struct UncomputedKey: Sendable {
  package var name: String
  /// Values, as text, with which nothing changes.
  package var off: Set<String>
  /// The value, as text, that an absent key stands for; nil: one with which nothing changes.
  package var absent: String?
  /// The class has other parameters then.
  package var creates: Bool

  init(_ name: String, off: Set<String>, absent: String? = nil, creates: Bool = false) {
    self.creates = creates
    self.name = name
    self.off = off
    self.absent = absent
  }

  /// Read by llama.cpp for every architecture; false: every token sees later ones.
  package static let causal = UncomputedKey("attention.causal", off: ["true"])
}
