// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

extension TensorDecoder {
  /// Decodes `count` integers of `type` from `bytes`, which must hold exactly that many. For index
  /// tables and permutations, which Float might not hold exactly.
  package static func integers(
    _ bytes: UnsafeRawBufferPointer, type: ElementType, count: Int
  ) throws(RegateError) -> [Int] {
    precondition(type.byteCount(of: count) == bytes.count, "bytes do not match the element count")
    switch type {
    case .bool, .u8: return bytes.map { Int($0) }
    case .i8: return bytes.map { Int(Int8(bitPattern: $0)) }
    case .i16: return loadAll(bytes, as: Int16.self, count: count)
    case .u16: return loadAll(bytes, as: UInt16.self, count: count)
    case .i32: return loadAll(bytes, as: Int32.self, count: count)
    case .u32: return loadAll(bytes, as: UInt32.self, count: count)
    case .i64: return loadAll(bytes, as: Int64.self, count: count)
    case .u64:
      return try (0..<count).map { (index) throws(RegateError) in
        let stored = bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self)
        guard let value = Int(exactly: UInt64(littleEndian: stored)) else {
          throw RegateError(.unsupported, "U64 element \(index) is \(stored), above \(Int.max)")
        }
        return value
      }
    default:
      throw RegateError(.mismatch, "element type is \(type.rawValue), expected an integer type")
    }
  }

  private static func loadAll<T: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: UnsafeRawBufferPointer, as type: T.Type, count: Int
  ) -> [Int] {
    (0..<count).map {
      let offset = $0 * MemoryLayout<T>.size
      return Int(T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self)))
    }
  }
}
