// SPDX-License-Identifier: Apache-2.0

/// What two neighbouring symbols merge into, and how early.
struct MergeTable: Sendable {
  /// rank << 32 | merged symbol; lower ranks merge first.
  typealias Merge = UInt64
  static let none = Merge.max

  private var keys: [UInt64]
  private var values: [Merge]
  private(set) var count = 0

  /// Which of two entries for one pair counts.
  enum Duplicates { case first, last }

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    // No pair has this key: a symbol is below UInt32.max.
    keys = [UInt64](repeating: .max, count: size)
    values = [Merge](repeating: MergeTable.none, count: size)
  }

  mutating func insert(
    _ left: UInt32, _ right: UInt32, rank: UInt32, merged: UInt32, keep: Duplicates
  ) {
    if count * 2 >= keys.count { grow() }
    let key = UInt64(left) << 32 | UInt64(right)
    let slot = slot(of: key)
    if keys[slot] == key, keep == .first { return }
    if keys[slot] != key { count += 1 }
    keys[slot] = key
    values[slot] = UInt64(rank) << 32 | UInt64(merged)
  }

  @inline(__always)
  func merge(_ left: UInt32, _ right: UInt32) -> Merge {
    let key = UInt64(left) << 32 | UInt64(right)
    return values[slot(of: key)]
  }

  @inline(__always)
  private func slot(of key: UInt64) -> Int {
    let mixed = key &* 0x9E37_79B9_7F4A_7C15
    var slot = Int(truncatingIfNeeded: mixed >> 32) & (keys.count - 1)
    while keys[slot] != key, keys[slot] != .max { slot = (slot + 1) & (keys.count - 1) }
    return slot
  }

  private mutating func grow() {
    let old = (keys, values)
    keys = [UInt64](repeating: .max, count: old.0.count * 2)
    values = [Merge](repeating: MergeTable.none, count: keys.count)
    for (key, value) in zip(old.0, old.1) where key != .max {
      let slot = slot(of: key)
      keys[slot] = key
      values[slot] = value
    }
  }
}
