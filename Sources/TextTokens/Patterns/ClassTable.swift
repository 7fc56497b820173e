// SPDX-License-Identifier: Apache-2.0

/// For every scalar, which of up to 64 character classes hold it: bit c for class c.
///
/// Two stages: `blocks` gives the block of 256 scalars, equal blocks are stored once.
struct ClassTable: Sendable {
  static let classLimit = 64

  private let ascii: [UInt64]
  private let blocks: [UInt16]
  private let masks: [UInt64]
  /// For each class, the classes that share a scalar with it (itself too).
  let overlaps: [UInt64]

  init(_ classes: [ScalarSet]) {
    precondition(classes.count <= ClassTable.classLimit)
    let runs = ClassTable.runs(classes)
    var blocks: [UInt16] = []
    var masks: [UInt64] = []
    var known: [[UInt64]: UInt16] = [:]
    var run = 0
    for start in stride(from: UInt32(0), through: ScalarSet.last, by: 256) {
      var block: [UInt64] = []
      block.reserveCapacity(256)
      for value in start..<start + 256 {
        while run + 1 < runs.count, runs[run + 1].start <= value { run += 1 }
        block.append(runs[run].mask)
      }
      if let index = known[block] {
        blocks.append(index)
      } else {
        let index = UInt16(masks.count / 256)
        known[block] = index
        blocks.append(index)
        masks += block
      }
    }
    self.ascii = Array(masks.prefix(128))
    self.blocks = blocks
    self.masks = masks
    self.overlaps = classes.indices.map { index in
      runs.reduce(0) { $1.mask >> UInt64(index) & 1 == 1 ? $0 | $1.mask : $0 }
    }
  }

  /// Where the mask changes, from scalar 0 on.
  private static func runs(_ classes: [ScalarSet]) -> [(start: UInt32, mask: UInt64)] {
    var changes: [UInt32: UInt64] = [0: 0]
    for (index, set) in classes.enumerated() {
      for range in set.ranges {
        changes[range.lowerBound, default: 0] ^= 1 << UInt64(index)
        changes[range.upperBound + 1, default: 0] ^= 1 << UInt64(index)
      }
    }
    var mask: UInt64 = 0
    return changes.sorted { $0.key < $1.key }.map { (start, change) in
      mask ^= change
      return (start, mask)
    }
  }

  /// The classes of the scalar that starts at `index`, and its length; `text` is valid UTF-8.
  @inline(__always)
  func scalar(in text: [UInt8], at index: Int) -> (mask: UInt64, length: Int) {
    let lead = text[index]
    if lead < 0x80 { return (ascii[Int(lead)], 1) }
    return wideScalar(in: text, at: index)
  }

  private func wideScalar(in text: [UInt8], at index: Int) -> (mask: UInt64, length: Int) {
    let lead = UInt32(text[index])
    var value = UInt32(text[index + 1] & 0x3F)
    if lead < 0xE0 {
      value |= (lead & 0x1F) << 6
      return (mask(value), 2)
    }
    value = value << 6 | UInt32(text[index + 2] & 0x3F)
    if lead < 0xF0 {
      value |= (lead & 0x0F) << 12
      return (mask(value), 3)
    }
    value = value << 6 | UInt32(text[index + 3] & 0x3F)
    value |= (lead & 0x07) << 18
    return (mask(value), 4)
  }

  func mask(_ value: UInt32) -> UInt64 {
    masks[Int(blocks[Int(value >> 8)]) << 8 | Int(value & 0xFF)]
  }
}
