// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

package enum TensorDecoder {
  /// Decodes `count` elements of `type` from `bytes`, which must hold exactly that many.
  package static func decode(
    _ bytes: UnsafeRawBufferPointer, type: ElementType, count: Int
  ) throws(RegateError) -> [Float] {
    precondition(type.byteCount(of: count) == bytes.count)
    switch type {
    case .f32: return (0..<count).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    case .bf16:
      return (0..<count).map {
        Float(
          bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)) << 16)
      }
    default:
      throw RegateError(.unsupported, "element type \(type.rawValue) cannot be decoded")
    }
  }
}
