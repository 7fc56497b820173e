// SPDX-License-Identifier: Apache-2.0

package import ByteStorage

extension TensorDecoder {
  /// Decodes `count` integers of `type` from `bytes`, which must hold exactly that many. For index
  /// tables and permutations, which Float might not hold exactly.
  package static func integers(
    _ bytes: RawSpan, type: ElementType, count: Int
  ) throws(RegateError) -> [Int] {
    precondition(
      type.byteCount(of: count) == bytes.byteCount, "bytes do not match the element count")
    switch type {
    case .bool, .u8: return loadAll(bytes, as: UInt8.self, count: count)
    case .i8: return loadAll(bytes, as: Int8.self, count: count)
    case .i16: return loadAll(bytes, as: Int16.self, count: count)
    case .u16: return loadAll(bytes, as: UInt16.self, count: count)
    case .i32: return loadAll(bytes, as: Int32.self, count: count)
    case .u32: return loadAll(bytes, as: UInt32.self, count: count)
    case .i64: return loadAll(bytes, as: Int64.self, count: count)
    case .u64:
      var values: [Int] = []
      values.reserveCapacity(count)
      for index in 0..<count {
        let stored = bytes.integer(at: 8 * index, as: UInt64.self)
        guard let value = Int(exactly: stored) else {
          throw RegateError(.unsupported, "U64 element \(index) is \(stored), above \(Int.max)")
        }
        values.append(value)
      }
      return values
    default:
      throw RegateError(.mismatch, "element type is \(type.rawValue), expected an integer type")
    }
  }

  private static func loadAll<T: FixedWidthInteger & BitwiseCopyable>(
    _ bytes: RawSpan, as type: T.Type, count: Int
  ) -> [Int] {
    var values: [Int] = []
    values.reserveCapacity(count)
    for index in 0..<count {
      values.append(Int(bytes.integer(at: index * MemoryLayout<T>.size, as: T.self)))
    }
    return values
  }
}
