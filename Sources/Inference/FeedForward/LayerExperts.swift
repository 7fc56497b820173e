// SPDX-License-Identifier: Apache-2.0

package import Architectures
import ByteStorage
import Checkpoints
import Routing

/// The experts of one layer, while a fit first samples them and then sends all tokens through them.
/// Those that fit the memory for it stay decoded in between, so that they are decoded once.
package final class LayerExperts: Sendable {
  package let layer: MoELayer
  private let reader: ExpertReader
  /// The experts below it are kept, whichever thread comes first.
  private let keptCount: Int
  private let kept = Locked<[Int: PackedExpert]>([:])

  /// At most `memory` bytes of decoded experts are kept.
  package init(_ layer: MoELayer, _ reader: ExpertReader, memory: Int = PassMemory().experts) {
    self.layer = layer
    self.reader = reader
    keptCount = memory / max(1, reader.packedBytes(of: layer))
  }

  /// Bytes that are kept at most in any layer of `model`; 0 where experts cannot be decoded.
  package static func keptBytes(in model: Model, memory: Int = PassMemory().experts) -> Int {
    guard let reader = try? ExpertReader(model) else { return 0 }
    return model.layout.layers.map { layer in
      let bytes = reader.packedBytes(of: layer)
      return min(memory / max(1, bytes), layer.rule.experts) * bytes
    }.max() ?? 0
  }

  /// An expert that is needed again.
  func borrow(_ expert: Int) throws(RegateError) -> PackedExpert {
    if let weights = kept.withLock({ $0[expert] }) { return weights }
    let weights = try reader.packed(of: expert, in: layer)
    if expert < keptCount { kept.withLock { $0[expert] = weights } }
    return weights
  }

  /// An expert that is needed for the last time.
  func take(_ expert: Int) throws(RegateError) -> PackedExpert {
    if let weights = kept.withLock({ $0.removeValue(forKey: expert) }) { return weights }
    return try reader.packed(of: expert, in: layer)
  }
}
