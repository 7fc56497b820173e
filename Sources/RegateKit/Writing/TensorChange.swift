// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Routing
import Tensors

/// What happens to one router tensor of the original.
struct TensorChange: Sendable {
  let tensor: TensorInfo
  /// nil: the tensor is left out of the output.
  let replacement: Replacement?

  /// New contents; the shape stays.
  struct Replacement: Sendable {
    let type: ElementType
    let bytes: [UInt8]
  }

  /// Whether the tensor keeps its place and size, so that its file's header stays as it is.
  var keepsLayout: Bool { replacement?.type == tensor.type }
}

extension LayerPatch {
  /// The changes to the router tensors that the original has.
  func routerChanges() throws(RegateError) -> [TensorChange] {
    switch router {
    case .prototype, .official:
      return ([layer.gate] + [layer.gateBias, layer.selectionBias].compactMap { $0 })
        .map { TensorChange(tensor: $0, replacement: nil) }
    case .renumbered(let moved):
      return moved.map {
        TensorChange(tensor: $0.tensor, replacement: .init(type: $0.tensor.type, bytes: $0.bytes))
      }
    case .stock(let router):
      var changes = [
        TensorChange(
          tensor: layer.gate,
          replacement: .init(
            type: layer.gate.type,
            bytes: try TensorEncoder.encode(router.gate.values, type: layer.gate.type)))
      ]
      if let tensor = layer.selectionBias, let bias = router.selectionBias {
        // A BF16 bias has too few digits to balance by: it is stored as F32 wherever it can.
        let type: ElementType = keepsBiasType && tensor.type == .bf16 ? .bf16 : .f32
        if type == .bf16, bias.contains(where: { $0 != $0.roundedToBF16 }) {
          throw RegateError(
            .refused, subject: tensor.name, "is BF16 in place, but the fit has F32 values for it",
            advice: "fit in place with --calibration, which solves for BF16, or use --output")
        }
        changes.append(
          TensorChange(
            tensor: tensor,
            replacement: .init(type: type, bytes: try TensorEncoder.encode(bias, type: type))))
      }
      return changes
    }
  }
}
