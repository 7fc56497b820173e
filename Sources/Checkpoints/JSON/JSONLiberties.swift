// SPDX-License-Identifier: Apache-2.0

/// What a JSON reader has read that a strict one refuses.
package struct JSONLiberties: Sendable {
  /// Things of one kind: the first, and how many.
  struct Found: Sendable {
    private var first: String?
    private var count = 0

    mutating func add(_ found: String) {
      if first == nil { first = found }
      count += 1
    }

    /// nil where there are none.
    var text: String? {
      first.map { count > 1 ? "\($0) (and \(count - 1) more)" : $0 }
    }
  }

  /// Values that are NaN or infinite.
  var nonFinite = Found()
  /// Keys that their object holds already.
  var repeatedKeys = Found()
  /// Halves of surrogate pairs that became U+FFFD.
  package internal(set) var replacedSurrogates = 0

  /// What to say of them about a file of that name; nil where there are none.
  package func warning(file: String) -> String? {
    let found = [
      nonFinite.text, repeatedKeys.text.map { "the key \($0) is there twice, the last counts" },
      replacedSurrogates > 0 ? "\(replacedSurrogates) x half a surrogate pair is replaced" : nil,
    ].compactMap { $0 }
    guard !found.isEmpty else { return nil }
    return "\(file): \(found.joined(separator: "; ")); read as the model's own loaders read it"
  }
}

extension BinaryFloatingPoint where Self: CustomStringConvertible {
  /// As Python's json module writes it.
  package var pythonName: String {
    if isNaN { return "NaN" }
    return isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : description
  }
}
