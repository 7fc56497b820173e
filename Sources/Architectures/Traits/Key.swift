// SPDX-License-Identifier: Apache-2.0

/// A configuration value: its spellings, the first found wins, and what an absent one means.
package struct Key<Value: Sendable>: Sendable {
  package var names: [String]
  /// nil: must be given.
  package var fallback: Value?
  package var null: Null

  /// What `null` in `config.json` means, which to transformers is a value like others.
  package enum Null: Sendable {
    /// transformers raises an error.
    case refused
    /// The value that transformers' code takes it for; nil: that there is none.
    case means(Value?)
  }

  package init(_ names: String..., default fallback: Value?, null: Null = .refused) {
    self.init(names, default: fallback, null: null)
  }

  package init(_ names: [String], default fallback: Value?, null: Null = .refused) {
    self.names = names
    self.fallback = fallback
    self.null = null
  }
}

extension Key {
  /// A value that may be absent or null: there is none then.
  package static func optional(_ name: String) -> Key {
    Key(name, default: nil, null: .means(nil))
  }
}

/// A yes or no that a family always gives, or that its configuration says.
package enum Switch: Sendable {
  case fixed(Bool)
  case key(Key<Bool>)
}
