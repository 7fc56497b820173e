// SPDX-License-Identifier: Apache-2.0
//
// A fit of some layers is a fit file whose metadata has `part` (JSON): `layers`, those of the whole
// fit, and `key`, all that the whole depends on.

import Checkpoints
import OrderedCollections
package import Resuming

/// What a part says of the whole that it belongs to.
package struct FitPart: Sendable, Hashable, Codable {
  /// Its name in the metadata.
  static let name = "part"

  /// The numbers of all layers of the whole.
  package let layers: [Int]
  /// What the whole depends on, by name.
  private let key: [String: String]

  package init(of layers: [Int], key: ResumeKey) {
    self.layers = layers
    self.key = Dictionary(uniqueKeysWithValues: key.entries.map { ($0.key, $0.value) })
  }

  /// What differs from another part's whole, in words; nil if nothing does.
  func difference(from other: FitPart) -> String? {
    let own = ResumeKey(entries: OrderedDictionary(uniqueKeysWithValues: key.sorted(by: <)))
    let others = JSONValue.object(
      OrderedDictionary(uniqueKeysWithValues: other.key.map { ($0.key, .string($0.value)) }))
    return own.difference(from: others)
      ?? (layers == other.layers
        ? nil
        : "layers \(LayerPart.words(other.layers)) instead of \(LayerPart.words(layers))")
  }
}
