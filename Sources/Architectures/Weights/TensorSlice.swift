// SPDX-License-Identifier: Apache-2.0

package import Checkpoints

/// A tensor, or the part of one that belongs to one expert.
package struct TensorSlice: Sendable {
  package let tensor: TensorInfo
  /// Counted from the tensor's first byte.
  package let bytes: Range<Int>
  package let shape: [Int]

  package var elementCount: Int { shape.reduce(1, *) }

  package init(_ tensor: TensorInfo) {
    self.tensor = tensor
    bytes = 0..<tensor.range.count
    shape = tensor.shape
  }

  /// What `part` has of `expert`.
  init(_ part: ExpertPart, expert: Int) {
    (tensor, bytes) = part.slice(expert: expert)
    shape = part.shape(expert: expert)
  }
}
