// SPDX-License-Identifier: Apache-2.0

/// A configuration value: its spellings, the first found wins, and what an absent one means.
package struct Key<Value: Sendable>: Sendable {
  package var names: [String]
  /// nil: must be given.
  package var fallback: Value?

  package init(_ names: String..., default fallback: Value?) {
    self.init(names, default: fallback)
  }

  package init(_ names: [String], default fallback: Value?) {
    self.names = names
    self.fallback = fallback
  }
}

/// A yes or no that a family always gives, or that its configuration says.
package enum Switch: Sendable {
  case fixed(Bool)
  case key(Key<Bool>)
}
