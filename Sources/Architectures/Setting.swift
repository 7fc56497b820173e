// SPDX-License-Identifier: Apache-2.0

import Checkpoints

/// One configuration value that a layout was derived from.
package struct Setting: Sendable, Hashable {
  /// The key as the file has it (`text_config.num_experts`, `qwen3moe.expert_count`), or the first
  /// spelling where it was absent.
  package let key: String
  /// The value as text.
  package let value: String
  /// The key was absent, and the family's default was taken.
  package let isDefault: Bool

  package init(key: String, value: String, isDefault: Bool) {
    self.key = key
    self.value = value
    self.isDefault = isDefault
  }
}

/// A configuration value of either container, as far as architectures need one.
package enum SettingValue: Sendable, Equatable {
  case integer(Int)
  case number(Double)
  case bool(Bool)
  case string(String)
  case integers([Int])
  case numbers([Double])
  case flags([Bool])
  case null
  /// Of a kind that no key asks for; the text names the kind.
  case other(String)

  var text: String {
    switch self {
    case .integer(let value): String(value)
    case .number(let value): value.pythonName
    case .bool(let value): String(value)
    case .string(let value): "\"\(value)\""
    case .integers(let values): "[\(values.map(String.init).joined(separator: ", "))]"
    case .numbers(let values): "a list of \(values.count) numbers"
    case .flags(let values): "[\(values.map(String.init).joined(separator: ", "))]"
    case .null: "null"
    case .other(let kind): kind
    }
  }
}
