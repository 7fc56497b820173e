// SPDX-License-Identifier: Apache-2.0

package import Checkpoints
import OrderedCollections

/// What a checkpoint stores against what a runtime's class creates.
package struct ParameterComparison: Sendable {
  /// A tensor of another shape than the class gives its parameter.
  package struct Mismatch: Sendable {
    package let name: String
    package let stored: [Int]
    package let expected: [Int]
  }

  /// Created, but not stored: the first name of each.
  package private(set) var missing: [String] = []
  /// Parameters of which some pieces are stored: the pieces that are not.
  package private(set) var incomplete: [String] = []
  package private(set) var mismatched: [Mismatch] = []
  /// Stored, but not created.
  package private(set) var surplus: [String] = []

  package init(_ parameters: [Parameter], with checkpoint: any Checkpoint) {
    var used: Set<String> = []
    used.reserveCapacity(checkpoint.tensors.count)
    for parameter in parameters { compare(parameter, checkpoint, &used) }
    surplus = checkpoint.tensors.keys.filter { !used.contains($0) }
  }

  private mutating func compare(
    _ parameter: Parameter, _ checkpoint: any Checkpoint, _ used: inout Set<String>
  ) {
    let stored = parameter.forms.map { form in form.filter { checkpoint.has($0.name) } }
    let most = stored.map(\.count).max() ?? 0
    guard most > 0, let best = stored.firstIndex(where: { $0.count == most }) else {
      if !parameter.isOptional, let name = parameter.forms.first?.first?.name {
        missing.append(name)
      }
      return
    }
    for piece in parameter.forms[best] {
      guard let tensor = checkpoint.tensors[piece.name] else {
        incomplete.append(piece.name)
        continue
      }
      used.insert(piece.name)
      if !checkpoint.holds(tensor.shape, as: piece.shape) {
        mismatched.append(
          Mismatch(name: piece.name, stored: tensor.shape, expected: piece.shape))
      }
    }
  }
}

extension Checkpoint {
  fileprivate func has(_ name: String) -> Bool { tensors[name] != nil }

  /// ggml's shapes have four dimensions, the outer ones 1 where fewer are stored.
  fileprivate func holds(_ stored: [Int], as shape: [Int]) -> Bool {
    guard container == .gguf else { return stored == shape }
    return stored.drop { $0 == 1 } == shape.drop { $0 == 1 }
  }
}
