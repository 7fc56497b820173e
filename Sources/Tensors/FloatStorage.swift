// SPDX-License-Identifier: Apache-2.0
//
// Memory of panels. A forward pass takes and drops buffers of the same few sizes thousands of
// times; fresh pages for each would cost a tenth of its time in page faults, so that a limited
// amount of freed memory is kept for the next taker.

import ByteStorage

/// Floats that are not initialised, and are freed with the last window into them; or an array's,
/// for as long as a call lasts.
@safe
final class FloatStorage: Sendable {
  private enum Source {
    /// Of the pool, with so many floats.
    case pool(capacity: Int)
    /// Pages of a temporary file.
    case file(bytes: Int)
    case borrowed
  }

  // SAFETY: room for the floats that were asked for, until `deinit`; views into it keep the object.
  // Threads write parts that do not overlap.
  nonisolated(unsafe) let base: UnsafeMutablePointer<Float>
  private let source: Source

  init(count: Int) {
    precondition(count >= 0)
    let capacity = FloatPool.capacity(for: count)
    unsafe base = FloatPool.take(capacity)
    source = .pool(capacity: capacity)
  }

  /// Room for `bytes` bytes, a multiple of 4.
  convenience init(bytes: Int) { self.init(count: bytes / MemoryLayout<Float>.size) }

  /// In a temporary file where there are more than `limit` bytes; in memory where no file has room.
  convenience init(count: Int, inFileAbove limit: Int) {
    let bytes = count * MemoryLayout<Float>.stride
    if bytes > limit, bytes > 0, let pages = unsafe PageMemory.takeFromFile(bytes) {
      unsafe self.init(pages.bindMemory(to: Float.self, capacity: count), .file(bytes: bytes))
    } else {
      self.init(count: count)
    }
  }

  convenience init(borrowing base: UnsafeMutablePointer<Float>) {
    unsafe self.init(base, .borrowed)
  }

  private init(_ base: UnsafeMutablePointer<Float>, _ source: Source) {
    unsafe self.base = base
    self.source = source
  }

  deinit {
    switch source {
    case .pool(let capacity): unsafe FloatPool.giveBack(base, capacity)
    case .file(let bytes): unsafe PageMemory.giveBack(UnsafeMutableRawPointer(base), bytes)
    case .borrowed: break
    }
  }
}

private enum FloatPool {
  /// Smaller buffers are malloc's business; larger ones are rare.
  private static let sizes = 1 << 12...8 << 20
  /// From so many floats on blocks are whole pages: 128 KB.
  private static let pageFloats = 1 << 15
  /// Floats that may lie idle: 32 MB.
  private static let idleLimit = 8 << 20
  /// What tiles and vectors of every CPU are content with.
  private static let alignment = 64

  // SAFETY: of so many floats as its key in `Idle` says; nobody else knows it.
  @safe
  private struct Block: @unchecked Sendable {
    let base: UnsafeMutablePointer<Float>
  }

  private struct Idle {
    var blocks: [Int: [Block]] = [:]
    var total = 0
  }

  private static let idle = Locked(Idle())

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
    return unsafe block?.base ?? allocate(capacity)
  }

  private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Float> {
    let bytes = capacity * MemoryLayout<Float>.stride
    let memory =
      unsafe capacity >= pageFloats
      ? PageMemory.takeAnywhere(bytes) : .allocate(byteCount: bytes, alignment: alignment)
    return unsafe memory.bindMemory(to: Float.self, capacity: capacity)
  }

  private static func deallocate(_ base: UnsafeMutablePointer<Float>, _ capacity: Int) {
    let memory = UnsafeMutableRawPointer(base)
    if capacity >= pageFloats {
      unsafe PageMemory.giveBack(memory, capacity * MemoryLayout<Float>.stride)
    } else {
      unsafe memory.deallocate()
    }
  }

  /// Keeps a block for the next taker; where that is too much, all others go, whose sizes may never
  /// be asked for again.
  static func giveBack(_ base: UnsafeMutablePointer<Float>, _ capacity: Int) {
    guard sizes.contains(capacity) else { return unsafe deallocate(base, capacity) }
    let block = unsafe Block(base: base)
    let dropped = idle.withLock { idle -> [Int: [Block]] in
      var dropped: [Int: [Block]] = [:]
      if idle.total + capacity > idleLimit {
        dropped = idle.blocks
        idle = Idle()
      }
      idle.blocks[capacity, default: []].append(block)
      idle.total += capacity
      return dropped
    }
    for (capacity, blocks) in dropped {
      for block in blocks { unsafe deallocate(block.base, capacity) }
    }
  }
}
