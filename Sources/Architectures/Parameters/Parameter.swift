// SPDX-License-Identifier: Apache-2.0

/// A parameter that a runtime's class creates, and how checkpoints may store it.
package struct Parameter: Sendable {
  /// A tensor of a checkpoint.
  package struct Piece: Sendable {
    package let name: String
    package let shape: [Int]

    package init(_ name: String, _ shape: [Int]) {
      self.name = name
      self.shape = shape
    }
  }

  /// The ways to store it: in any one of these, all pieces must be there.
  package let forms: [[Piece]]
  /// The runtime does without it.
  package let isOptional: Bool

  package init(_ forms: [[Piece]], isOptional: Bool = false) {
    self.forms = forms
    self.isOptional = isOptional
  }

  /// One tensor under any of these names.
  package init(_ names: [String], _ shape: [Int], isOptional: Bool = false) {
    self.init(names.map { [Piece($0, shape)] }, isOptional: isOptional)
  }

  package init(_ name: String, _ shape: [Int], isOptional: Bool = false) {
    self.init([name], shape, isOptional: isOptional)
  }
}
