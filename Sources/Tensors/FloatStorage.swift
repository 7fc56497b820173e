// SPDX-License-Identifier: Apache-2.0
//
// Heap memory of panels. A forward pass takes and drops buffers of the same few sizes thousands of
// times; fresh pages for each would cost a tenth of its time in page faults, so that a limited
// amount of freed memory is kept for the next taker.

import Synchronization

/// Floats that are not initialised, and are freed with the last window into them; or an array's, for
/// as long as a call lasts.
final class FloatStorage: Sendable {
  nonisolated(unsafe) let base: UnsafeMutablePointer<Float>
  /// Floats that were allocated; nil where the memory is borrowed.
  private let capacity: Int?

  init(count: Int) {
    precondition(count >= 0)
    let capacity = FloatPool.capacity(for: count)
    base = FloatPool.take(capacity)
    self.capacity = capacity
  }

  /// Room for `bytes` bytes, a multiple of 4.
  convenience init(bytes: Int) { self.init(count: bytes / MemoryLayout<Float>.size) }

  init(borrowing base: UnsafeMutablePointer<Float>) {
    self.base = base
    capacity = nil
  }

  deinit { if let capacity { FloatPool.giveBack(base, capacity) } }
}

private enum FloatPool {
  /// Smaller buffers are malloc's business; larger ones are rare.
  private static let sizes = 1 << 12...8 << 20
  /// Floats that may lie idle: 32 MB.
  private static let idleLimit = 8 << 20
  /// What tiles and vectors of every CPU are content with.
  private static let alignment = 64

  private struct Block: @unchecked Sendable {
    let base: UnsafeMutablePointer<Float>
  }

  private struct Idle {
    var blocks: [Int: [Block]] = [:]
    var total = 0
  }

  private static let idle = Mutex(Idle())

  /// `count` rounded up to three significant bits, so that sizes repeat.
  static func capacity(for count: Int) -> Int {
    guard sizes.contains(count) else { return max(count, 1) }
    let unit = 1 << (Int.bitWidth - 1 - count.leadingZeroBitCount - 2)
    return (count + unit - 1) / unit * unit
  }

  static func take(_ capacity: Int) -> UnsafeMutablePointer<Float> {
    let block = idle.withLock { idle -> Block? in
      guard let block = idle.blocks[capacity]?.popLast() else { return nil }
      idle.total -= capacity
      return block
    }
    return block?.base
      ?? UnsafeMutableRawPointer.allocate(
        byteCount: capacity * MemoryLayout<Float>.stride, alignment: alignment
      ).bindMemory(to: Float.self, capacity: capacity)
  }

  /// Keeps a block for the next taker; where that is too much, all others go, whose sizes may never
  /// be asked for again.
  static func giveBack(_ base: UnsafeMutablePointer<Float>, _ capacity: Int) {
    guard sizes.contains(capacity) else { return UnsafeMutableRawPointer(base).deallocate() }
    let block = Block(base: base)
    let dropped = idle.withLock { idle -> [Block] in
      var dropped: [Block] = []
      if idle.total + capacity > idleLimit {
        dropped = idle.blocks.values.flatMap { $0 }
        idle = Idle()
      }
      idle.blocks[capacity, default: []].append(block)
      idle.total += capacity
      return dropped
    }
    for block in dropped { UnsafeMutableRawPointer(block.base).deallocate() }
  }
}
