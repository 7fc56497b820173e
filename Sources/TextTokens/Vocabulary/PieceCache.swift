// SPDX-License-Identifier: Apache-2.0

/// The tokens of pieces that were met before. Bounded: a slot holds the latest piece that fell
/// into it, and everything is forgotten when the stored bytes or tokens reach their limit.
struct PieceCache {
  /// Longer pieces hardly come back.
  static let pieceLimit = 64
  private static let arenaLimit = 1 << 22

  private struct Slot {
    var hash: UInt64 = 0
    var text: UInt32 = 0
    var ids: UInt32 = 0
    var textCount: UInt16 = 0
    var idCount: UInt16 = 0
  }

  private var slots: [Slot]
  private var text: [UInt8] = []
  private var ids: [UInt32] = []

  /// `slots` is a power of two.
  init(slots: Int) {
    precondition(slots.nonzeroBitCount == 1)
    self.slots = [Slot](repeating: Slot(), count: slots)
  }

  /// Appends the tokens of the piece to `ids` if they are known.
  @inline(__always)
  func append(_ text: [UInt8], _ range: Range<Int>, hash: UInt64, to ids: inout [Int]) -> Bool {
    let slot = slots[Int(truncatingIfNeeded: hash) & (slots.count - 1)]
    guard slot.hash == hash, Int(slot.textCount) == range.count, !range.isEmpty else {
      return false
    }
    let start = Int(slot.text)
    for offset in 0..<range.count where self.text[start + offset] != text[range.lowerBound + offset]
    {
      return false
    }
    let first = Int(slot.ids)
    for index in first..<first + Int(slot.idCount) { ids.append(Int(self.ids[index])) }
    return true
  }

  mutating func store(
    _ text: [UInt8], _ range: Range<Int>, hash: UInt64, ids: ArraySlice<Int>
  ) {
    guard !range.isEmpty, ids.count <= Int(UInt16.max) else { return }
    if self.text.count + self.ids.count > PieceCache.arenaLimit {
      self.text.removeAll(keepingCapacity: true)
      self.ids.removeAll(keepingCapacity: true)
      for index in slots.indices { slots[index] = Slot() }
    }
    slots[Int(truncatingIfNeeded: hash) & (slots.count - 1)] = Slot(
      hash: hash, text: UInt32(self.text.count), ids: UInt32(self.ids.count),
      textCount: UInt16(range.count), idCount: UInt16(ids.count))
    self.text.append(contentsOf: text[range])
    for id in ids { self.ids.append(UInt32(id)) }
  }
}
