// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Checkpoints
import Tensors

extension Target {
  /// Elements of every type that there is, decoded by the C kernels.
  static let blocks = Target("blocks") { bytes in
    let types = ElementType.allCases
    let type = types[Int(bytes.first ?? 0) % types.count]
    let bytes = [UInt8](bytes.dropFirst())
    let blocks = bytes.count * 8 / type.blockBits
    let whole = [UInt8](bytes.prefix(blocks * type.blockBits / 8))
    let count = blocks * type.blockElements
    guard type.byteCount(of: count) == whole.count else { return }
    let values = try whole.withBytes { try TensorDecoder.decode($0, type: type, count: count) }
    precondition(values.count == count)
  }
}
