// SPDX-License-Identifier: Apache-2.0

package import Checkpoints
import Tensors

/// One kind of tensor that every expert of a layer has: its up projection, say, or its scales.
///
/// A layer's parts together are everything that belongs to its experts: a clone is a byte copy of
/// all parts' slices.
package struct ExpertPart: Sendable {
  /// Which of an expert's matrices.
  package enum Role: String, Sendable, CaseIterable {
    case gate, up
    /// Gate and up rows in one matrix, gate first.
    case gateUp = "gate_up"
    case down
    /// Belongs to the experts, but to none of their matrices.
    case other
  }

  /// What is stored of it.
  package enum Kind: String, Sendable {
    /// The matrix, decodable by its element type alone or with a `scale`.
    case weight
    /// The matrix, packed by a scheme that its element type does not tell (GPTQ, AWQ, MXFP4, ..).
    case packedWeight = "packed_weight"
    case scale, bias
    /// One value for each expert, which its output is multiplied by.
    case outputScale = "output_scale"
    /// Anything else: zero points, group indices, shapes.
    case companion
  }

  /// How the parts of E experts lie on disk.
  package enum Storage: Sendable {
    /// One tensor per expert, E of them.
    case separate([TensorInfo])
    /// One tensor whose first dimension is E; slices are contiguous and equally long.
    case fused(TensorInfo)
  }

  package let role: Role
  package let kind: Kind
  /// Name relative to the layer, `*` for the expert's number where there is one.
  package let name: String
  /// What follows the projection's name, e.g. `weight_scale_inv`.
  package let suffix: String
  /// E.
  package let experts: Int
  package let storage: Storage
  /// Stored [in,out] instead of [out,in].
  package let transposed: Bool

  /// The tensor that holds expert `index`'s part, and its bytes in it, counted from the tensor's
  /// first byte.
  package func slice(expert index: Int) -> (tensor: TensorInfo, bytes: Range<Int>) {
    precondition(index >= 0 && index < experts, "no such expert")
    switch storage {
    case .separate(let tensors):
      return (tensors[index], 0..<tensors[index].range.count)
    case .fused(let tensor):
      let size = tensor.range.count / experts
      return (tensor, index * size..<(index + 1) * size)
    }
  }

  /// Whether it is an expert's matrix itself.
  package var isMatrix: Bool { kind == .weight || kind == .packedWeight }

  /// The shape of one expert's part.
  package func shape(expert index: Int) -> [Int] {
    switch storage {
    case .separate(let tensors): tensors[index].shape
    case .fused(let tensor): Array(tensor.shape.dropFirst())
    }
  }

  /// The tensors in storage order.
  package var tensors: [TensorInfo] {
    switch storage {
    case .separate(let tensors): tensors
    case .fused(let tensor): [tensor]
    }
  }

  /// Whether expert `source`'s bytes can stand in expert `target`'s place.
  package func canCopy(from source: Int, to target: Int) -> Bool {
    let (from, to) = (slice(expert: source), slice(expert: target))
    return from.tensor.type == to.tensor.type && from.bytes.count == to.bytes.count
      && shape(expert: source) == shape(expert: target)
  }
}

extension ExpertPart {
  /// The shape of an expert's matrix in `layer`, as it is stored; nil for what is none.
  func matrixShape(of layer: MoELayer) -> [Int]? {
    let shape = role.shape(width: layer.expertWidth, hiddenSize: layer.hiddenSize)
    return transposed ? shape?.reversed() : shape
  }
}

extension ExpertPart.Role {
  /// The shape [out,in] of one expert's matrix.
  func shape(width: Int, hiddenSize: Int) -> [Int]? {
    switch self {
    case .gate, .up: [width, hiddenSize]
    case .gateUp: [2 * width, hiddenSize]
    case .down: [hiddenSize, width]
    case .other: nil
    }
  }
}

extension ExpertPart.Kind {
  /// What a suffix says, where the element type does not say otherwise.
  static func of(suffix: String) -> ExpertPart.Kind {
    switch suffix {
    case "", "weight": .weight
    case "qweight", "weight_packed", "blocks": .packedWeight
    case "bias": .bias
    default: suffix.contains("scale") ? .scale : .companion
    }
  }
}
