// SPDX-License-Identifier: Apache-2.0
//
// While a layer is computed, the weights of the next one are read from the disk, so that a pass
// from a cold page cache takes the longer of reading and computing, not their sum.

import Architectures
import ByteStorage
import Checkpoints
import Dispatch
import Foundation

/// Has the kernel read a model's layers ahead of a pass, and forget those behind it where the model
/// does not fit the page cache anyway.
final class LayerReadAhead: Sendable {
  private typealias Extent = (file: MappedFile, range: Range<Int>)

  /// A layer's weights, in the order of the files.
  private let layers: [[Extent]]
  private let pages: PassedPages
  /// The layer that is wanted now; others are not read on.
  private let wanted = Locked(-1)
  private let queue = DispatchQueue(label: "regate.read-ahead", qos: .utility)

  /// Bytes of a layer that are read ahead: more might be gone again before they are used.
  private static let window = Int(clamping: ProcessInfo.processInfo.physicalMemory / 8)
  private static let step = 8 << 20

  init(_ model: InferenceModel) {
    let (checkpoint, layout) = (model.checkpoint, model.layout)
    let index = ModuleIndex(checkpoint)
    let stem = layout.prefix + (checkpoint.container == .gguf ? "blk." : "layers.")
    layers = (0..<model.layerCount).map { layer in
      var extents: [Extent] = []
      let tensors = index.tensors(of: "\(stem)\(layer)").map(\.tensor)
      for tensor in tensors.sorted(by: {
        ($0.file, $0.range.lowerBound) < ($1.file, $1.range.lowerBound)
      }) {
        let file = checkpoint.files[tensor.file]
        if let last = extents.last, last.file === file,
          last.range.upperBound >= tensor.range.lowerBound
        {
          extents[extents.count - 1].range = last.range.lowerBound..<tensor.range.upperBound
        } else {
          extents.append((file, tensor.range))
        }
      }
      return extents
    }
    pages = PassedPages(byteCount: checkpoint.files.reduce(0) { $0 + $1.count })
  }

  deinit { wanted.withLock { $0 = -1 } }

  /// Begins to read `layer`, where there is one.
  func want(layer: Int) {
    wanted.withLock { $0 = layer }
    guard layers.indices.contains(layer) else { return }
    let extents = layers[layer]
    queue.async { [weak self] in
      var left = Self.window
      for (file, range) in extents {
        for start in stride(from: range.lowerBound, to: range.upperBound, by: Self.step) {
          guard left > 0, let self, self.wanted.withLock({ $0 == layer }) else { return }
          let end = min(start + min(Self.step, left), range.upperBound)
          file.prefetch(start..<end)
          left -= end - start
        }
      }
    }
  }

  /// Forgets `layer`, which is done.
  func leave(layer: Int) {
    guard pages == .dropped else { return }
    for (file, range) in layers[layer] { file.discard(range, pages) }
  }
}
