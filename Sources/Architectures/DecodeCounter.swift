// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Counts how often each expert of each layer was decoded: the costliest work there is, and what
/// streaming promises to do once per layer.
package final class DecodeCounter: Sendable {
  private struct Expert: Hashable {
    let layer: Int
    let index: Int
  }

  private let decodes = Mutex<[Expert: Int]>([:])

  package init() {}

  func note(expert: Int, layer: Int) {
    decodes.withLock { $0[Expert(layer: layer, index: expert), default: 0] += 1 }
  }

  /// Decodes of all experts of `layer`.
  package func total(layer: Int) -> Int {
    decodes.withLock { $0.reduce(0) { $0 + ($1.key.layer == layer ? $1.value : 0) } }
  }

  /// Decodes of the expert of `layer` that was decoded most often; 0 where none was.
  package func most(layer: Int) -> Int {
    decodes.withLock { $0.reduce(0) { $1.key.layer == layer ? max($0, $1.value) : $0 } }
  }
}
