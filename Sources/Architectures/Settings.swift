// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import Checkpoints
package import OrderedCollections

/// Typed access to `config.json` or GGUF metadata that remembers what was read.
package struct Settings {
  /// The file that errors name.
  package let file: String
  /// What messages and `Setting.key` put before a key: `text_config.`, `deepseek2.`.
  package let scope: String
  /// The keys of an object of a `config.json`.
  let keys: [String]
  /// Whether there is no key.
  package let isEmpty: Bool
  /// Objects inside a `config.json`, by key.
  private let objects: (String) -> JSONValue?
  private let lists: (String) -> [JSONValue]?
  private let lookUp: (String) -> SettingValue?
  package private(set) var read: OrderedDictionary<String, Setting> = [:]

  /// Counts above this are corrupt files, not models: products of two stay within Int.
  static let limit = Int(Int32.max)

  /// The values of a `config.json`, or of an object in it.
  init(json object: JSONValue, scope: String, file: String) {
    self.file = file
    self.scope = scope
    keys = object.objectValue.map { Array($0.keys) } ?? []
    isEmpty = keys.isEmpty
    objects = { key in object[key].flatMap { value in value.objectValue.map { _ in value } } }
    lists = { key in object[key]?.arrayValue }
    lookUp = { key in object[key].map(SettingValue.init) }
  }

  init(gguf checkpoint: GGUFCheckpoint) {
    file = checkpoint.path
    scope = checkpoint.architecture + "."
    keys = []
    isEmpty = checkpoint.metadata.isEmpty
    objects = { _ in nil }
    lists = { _ in nil }
    let (metadata, scope) = (checkpoint.metadata, scope)
    lookUp = { key in metadata[scope + key].map(SettingValue.init) }
  }

  /// The settings in the object at `key`, if there is one.
  package func nested(_ key: String) -> Settings? {
    objects(key).map { Settings(json: $0, scope: scope + key + ".", file: file) }
  }

  /// The first spelling that the file has.
  private func first(of names: [String]) -> (name: String, value: SettingValue)? {
    for name in names {
      if let value = lookUp(name) { return (name, value) }
    }
    return nil
  }

  /// Whether the file has the key, be it as null.
  package func has(_ name: String) -> Bool { lookUp(name) != nil }

  /// The value as text, `null` too; nil where it is absent.
  package func text(of name: String) -> String? { lookUp(name)?.text }

  /// The value of `key`, converted by `convert`; `expected` says in words what that accepts.
  private mutating func value<Value>(
    of key: Key<Value>, _ expected: String, _ convert: (SettingValue) -> Value?
  ) throws(RegateError) -> Value? {
    guard let (name, found) = first(of: key.names) else {
      if let fallback = key.fallback, let name = key.names.first {
        read[scope + name] = Setting(key: scope + name, value: "\(fallback)", isDefault: true)
      }
      return key.fallback
    }
    if found == .null, case .means(let meant) = key.null {
      read[scope + name] = Setting(key: scope + name, value: "null", isDefault: false)
      return meant
    }
    guard let value = convert(found) else {
      let null = found == .null ? ", which transformers does not load" : ""
      throw RegateError(
        .malformed, file: file, subject: scope + name,
        "is \(found.text)\(null), expected \(expected)")
    }
    read[scope + name] = Setting(key: scope + name, value: found.text, isDefault: false)
    return value
  }

  package mutating func string(_ key: Key<String>) throws(RegateError) -> String? {
    try value(of: key, "a string") { if case .string(let value) = $0 { value } else { nil } }
  }

  package mutating func bool(_ key: Key<Bool>) throws(RegateError) -> Bool? {
    try value(of: key, "true or false") { if case .bool(let value) = $0 { value } else { nil } }
  }

  package mutating func number(_ key: Key<Double>) throws(RegateError) -> Double? {
    try value(of: key, "a finite number") {
      switch $0 {
      case .integer(let value): Double(value)
      case .number(let value): value.isFinite ? value : nil
      default: nil
      }
    }
  }

  package mutating func integer(_ key: Key<Int>, minimum: Int = 0) throws(RegateError) -> Int? {
    try value(of: key, "a whole number from \(minimum) to \(Settings.limit)") {
      guard case .integer(let value) = $0, value >= minimum, value <= Settings.limit else {
        return nil
      }
      return value
    }
  }

  /// An integer that must be there.
  package mutating func required(_ key: Key<Int>, minimum: Int = 0) throws(RegateError) -> Int {
    guard let value = try integer(key, minimum: minimum) else { throw missing(key) }
    return value
  }

  /// One value for all layers, or one per layer.
  package mutating func perLayer(_ key: Key<Int>) throws(RegateError) -> PerLayer? {
    let null: Key<PerLayer>.Null =
      if case .means(let value) = key.null { .means(value.map(PerLayer.all)) } else { .refused }
    let wrapped = Key<PerLayer>(
      key.names, default: key.fallback.map(PerLayer.all), null: null)
    return try value(of: wrapped, "whole numbers from 0 to \(Settings.limit)") {
      switch $0 {
      case .integer(let value) where value >= 0 && value <= Settings.limit: .all(value)
      case .integers(let values)
      where !values.isEmpty && values.allSatisfy({ $0 >= 0 && $0 <= Settings.limit }):
        .each(values)
      default: nil
      }
    }
  }

  /// A list of layer numbers; empty where the key is absent or null.
  package mutating func layers(_ name: String) throws(RegateError) -> [Int] {
    try value(of: Key(name, default: [], null: .means([])), "a list of layer numbers") {
      if case .integers(let values) = $0 { values } else { nil }
    } ?? []
  }

  /// A yes or no for each layer; nil where the value is something else.
  package func flags(_ name: String) -> [Bool]? {
    if case .flags(let values)? = lookUp(name) { values } else { nil }
  }

  /// `count` numbers above 0 that must be there.
  package mutating func factors(
    _ name: String, count: Int
  ) throws(RegateError) -> [Double] {
    let key = Key<[Double]>(name, default: nil)
    let values = try value(of: key, "\(count) numbers above 0") {
      let numbers: [Double]
      switch $0 {
      case .integers(let values): numbers = values.map(Double.init)
      case .numbers(let values): numbers = values
      default: return nil
      }
      return numbers.count == count && numbers.allSatisfy { $0 > 0 && $0.isFinite } ? numbers : nil
    }
    guard let values else { throw missing(key) }
    return values
  }

  /// A list of strings; nil where the key is absent or something else.
  package func strings(_ name: String) -> [String]? {
    lists(name)?.compactMap(\.stringValue)
  }

  /// A list of numbers; nil where the key is absent or something else.
  package func numbers(_ name: String) -> [Double]? {
    switch lookUp(name) {
    case .integers(let values): values.map(Double.init)
    case .numbers(let values): values
    default: nil
    }
  }

  /// Whether the key is absent or null, or lists nothing but 0 and null.
  package func holdsNothing(_ name: String) -> Bool {
    guard let value = lookUp(name), value != .null else { return true }
    return (numbers(name) ?? lists(name)?.map { $0.isNull ? 0 : $0.doubleValue ?? 1 } ?? [1])
      .allSatisfy { $0 == 0 }
  }

  /// A list of whole numbers; nil where the key is absent or something else.
  package func integers(_ name: String) -> [Int]? {
    lists(name)?.compactMap(\.intValue)
  }

  /// Whole numbers in a list, or in a string with commas between; nil where the key is absent or
  /// null.
  package mutating func numbers(listedIn name: String) throws(RegateError) -> [Int]? {
    try value(
      of: Key<[Int]>(name, default: nil, null: .means(nil)),
      "a list of layer numbers, or a string of them with commas between"
    ) {
      switch $0 {
      case .integers(let values): return values
      case .string(let text):
        let parts = text.split(separator: ",").map { $0.filter { !$0.isWhitespace } }
        let values = parts.filter { !$0.isEmpty }.map { Int($0) }
        return values.contains(nil) ? nil : values.compactMap(\.self)
      default: return nil
      }
    }
  }

  package func missing<Value>(_ key: Key<Value>) -> RegateError {
    let names = key.names.map { scope + $0 }
    let spellings = names.dropFirst().joined(separator: ", ")
    return RegateError(
      .missing, file: file, subject: names.first,
      "the key is absent" + (spellings.isEmpty ? "" : " (also looked for \(spellings))"))
  }

  package func mismatch(_ key: String, _ problem: String, advice: String? = nil) -> RegateError {
    RegateError(.mismatch, file: file, subject: scope + key, problem, advice: advice)
  }
}

/// A value that may differ from layer to layer.
package enum PerLayer: Sendable, CustomStringConvertible {
  case all(Int)
  case each([Int])

  /// The value for `layer`; nil where the list is too short.
  package subscript(layer: Int) -> Int? {
    switch self {
    case .all(let value): value
    case .each(let values): values.indices.contains(layer) ? values[layer] : nil
    }
  }

  package var description: String {
    switch self {
    case .all(let value): String(value)
    case .each(let values): values.description
    }
  }
}

extension SettingValue {
  init(_ value: JSONValue) {
    switch value {
    case .null: self = .null
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .number(value)
    case .string(let value): self = .string(value)
    case .array(let values):
      let integers = values.compactMap(\.intValue)
      let numbers = values.compactMap(\.doubleValue)
      if integers.count == values.count {
        self = .integers(integers)
      } else {
        self = numbers.count == values.count ? .numbers(numbers) : .other("a list")
      }
    case .object: self = .other("an object")
    }
  }

  init(_ value: GGUFValue) {
    if let integer = value.integer {
      self = .integer(integer)
    } else if let number = value.float {
      self = .number(number)
    } else if let bool = value.bool {
      self = .bool(bool)
    } else if let string = value.string {
      self = .string(string)
    } else if let integers = value.integers {
      self = .integers(integers)
    } else if let numbers = value.floats {
      self = .numbers(numbers)
    } else if let flags = value.bools {
      self = .flags(flags)
    } else {
      self = .other("an array")
    }
  }
}
