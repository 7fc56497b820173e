// SPDX-License-Identifier: Apache-2.0
//
// What readers of bytes need, each with its bounds checked, so that they hold no pointers.

import Foundation

extension RawSpan {
  /// The byte at `offset`, which must lie inside.
  @inlinable
  package subscript(offset: Int) -> UInt8 { integer(at: offset) }

  /// The little-endian integer whose first byte is at `offset`; all of it must lie inside.
  @inlinable
  package func integer<T: FixedWidthInteger & BitwiseCopyable>(
    at offset: Int, as type: T.Type = T.self
  ) -> T {
    // SAFETY: the load checks its bounds, and any bits are an integer.
    unsafe T(littleEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
  }

  /// Whether both hold the same bytes.
  package func elementsEqual(_ other: RawSpan) -> Bool {
    guard byteCount == other.byteCount else { return false }
    // SAFETY: both have `byteCount` bytes; without any, `memcmp` is not asked.
    return unsafe withUnsafeBytes { own in
      unsafe other.withUnsafeBytes { other in
        guard let own = own.baseAddress, let other = other.baseAddress else { return true }
        return unsafe memcmp(own, other, byteCount) == 0
      }
    }
  }

  /// Offset of the first byte with that value.
  package func firstOffset(of byte: UInt8) -> Int? {
    // SAFETY: the search stays inside the buffer that the span stands for.
    unsafe withUnsafeBytes { unsafe $0.firstIndex(of: byte) }
  }

  /// Whether all bytes are 0.
  package var isZero: Bool {
    // SAFETY: as above.
    unsafe withUnsafeBytes { unsafe $0.allSatisfy { $0 == 0 } }
  }
}

extension [UInt8] {
  /// The bytes of `span`.
  package init(copying span: RawSpan) {
    // SAFETY: the buffer is only read, inside the call.
    self = unsafe span.withUnsafeBytes { unsafe [UInt8]($0) }
  }
}

extension Array where Element: Numeric & BitwiseCopyable {
  /// Calls `body` with the elements as they lie in memory: numbers have no padding. Every platform
  /// that Swift runs on is little-endian.
  @inlinable
  package func withBytes<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    try body(RawSpan(_elements: span))
  }
}

extension FixedWidthInteger {
  /// The integer's bytes, lowest first.
  package var littleEndianBytes: [UInt8] {
    (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> (8 * $0)) }
  }
}
