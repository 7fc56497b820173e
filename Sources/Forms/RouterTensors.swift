// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
package import Checkpoints
import Routing
package import Tensors

/// What happens to one router tensor of the original.
package struct TensorChange: Sendable {
  /// New contents.
  package struct Replacement: Sendable {
    package let type: ElementType
    package let shape: [Int]
    package let bytes: [UInt8]

    package init(type: ElementType, shape: [Int], bytes: [UInt8]) {
      self.type = type
      self.shape = shape
      self.bytes = bytes
    }
  }

  package let tensor: TensorInfo
  /// nil: the tensor is left out of the output.
  package let replacement: Replacement?

  package init(tensor: TensorInfo, replacement: Replacement?) {
    self.tensor = tensor
    self.replacement = replacement
  }

  /// Whether the tensor keeps its place and size, so that its file's header stays as it is.
  package var keepsLayout: Bool {
    replacement?.type == tensor.type && replacement?.shape == tensor.shape
  }
}

/// What becomes of one layer's router tensors.
package struct RouterTensors: Sendable {
  /// What happens to tensors that the original has.
  package let changes: [TensorChange]
  /// Tensors that the original has not, by full name.
  package let added: [SafetensorsWriter.Tensor]

  package init(changes: [TensorChange], added: [SafetensorsWriter.Tensor] = []) {
    self.changes = changes
    self.added = added
  }

  /// New tensors instead of everything that the family's router has.
  package init(replacing layer: MoELayer, by added: [SafetensorsWriter.Tensor]) {
    self.init(
      changes: layer.routerTensors.map { TensorChange(tensor: $0, replacement: nil) }, added: added)
  }

  /// The router of a layer of `experts` physical experts, of which number j becomes what was number
  /// `placement[j]`, and those that it leaves out go: rows in another order, bytes as they are
  /// stored. `tensors` have one row, or one value, for each physical expert.
  package init(
    renumbering tensors: [TensorInfo], of experts: Int, by placement: [Int],
    in checkpoint: any Checkpoint
  ) throws(RegateError) {
    var changes: [TensorChange] = []
    for tensor in tensors {
      let row = tensor.range.count / experts
      let stored = try checkpoint.withBytes(of: tensor) { [UInt8](copying: $0) }
      let bytes = placement.flatMap { stored[$0 * row..<($0 + 1) * row] }
      var shape = tensor.shape
      // A bias may have a first dimension of 1.
      if let place = shape.firstIndex(of: experts) { shape[place] = placement.count }
      changes.append(
        TensorChange(
          tensor: tensor, replacement: .init(type: tensor.type, shape: shape, bytes: bytes)))
    }
    self.init(changes: changes)
  }
}

extension MoELayer {
  /// The tensors of the family's own router.
  package var routerTensors: [TensorInfo] { [gate, gateBias, selectionBias].compactMap { $0 } }
}
