// SPDX-License-Identifier: Apache-2.0

/// Token ids by their bytes. Tokens are compared as bytes: Swift's strings would take two tokens
/// that differ in Unicode normalisation for one.
struct TokenTable: Sendable {
  private var bytes: [UInt8] = []
  /// For each entry, where its bytes start; one more at the end.
  private var starts: [Int] = [0]
  private var ids: [UInt32] = []
  /// Open addressing: an entry's index plus one, or 0.
  private var slots: [UInt32]

  var count: Int { ids.count }

  init(capacity: Int) {
    var size = 16
    while size < capacity * 2 { size *= 2 }
    slots = [UInt32](repeating: 0, count: size)
  }

  /// Adds a token, unless its bytes are known already: then it returns false.
  mutating func insert(_ token: some Collection<UInt8>, id: UInt32) -> Bool {
    if ids.count * 2 >= slots.count { grow() }
    let slot = self.slot(of: token)
    guard slots[slot] == 0 else { return false }
    bytes.append(contentsOf: token)
    starts.append(bytes.count)
    ids.append(id)
    slots[slot] = UInt32(ids.count)
    return true
  }

  /// The id of the token with these bytes.
  @inline(__always)
  func id(of token: some Collection<UInt8>) -> UInt32? {
    let entry = slots[slot(of: token)]
    return entry == 0 ? nil : ids[Int(entry) - 1]
  }

  /// All tokens with their ids, in the order of insertion.
  var entries: some Sequence<(token: ArraySlice<UInt8>, id: UInt32)> {
    ids.indices.lazy.map { (bytes[starts[$0]..<starts[$0 + 1]], ids[$0]) }
  }

  /// The slot that holds `token`, or the free one where it belongs.
  @inline(__always)
  private func slot(of token: some Collection<UInt8>) -> Int {
    var slot = Int(truncatingIfNeeded: TokenTable.hash(token)) & (slots.count - 1)
    while slots[slot] != 0 {
      let entry = Int(slots[slot]) - 1
      let start = starts[entry]
      if starts[entry + 1] - start == token.count,
        token.elementsEqual(bytes[start..<starts[entry + 1]])
      {
        break
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return slot
  }

  /// FNV-1a (64 bits), with its high bits folded down.
  @inline(__always)
  static func hash(_ token: some Collection<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in token { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return hash ^ hash >> 32
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for entry in ids.indices {
      let token = bytes[starts[entry]..<starts[entry + 1]]
      var slot = Int(truncatingIfNeeded: TokenTable.hash(token)) & (slots.count - 1)
      while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = UInt32(entry + 1)
    }
  }
}
