// SPDX-License-Identifier: Apache-2.0

/// The bytes of tokens by id, one after the other.
struct TokenPieces: Sendable {
  private var bytes: [UInt8] = []
  private var ranges: [Range<Int>?]

  init(count: Int) { ranges = [Range<Int>?](repeating: nil, count: count) }

  var count: Int { ranges.count }

  mutating func set(_ id: Int, _ piece: some Collection<UInt8>) {
    let start = bytes.count
    bytes.append(contentsOf: piece)
    ranges[id] = start..<bytes.count
  }

  func bytes(of id: Int) -> [UInt8]? {
    guard ranges.indices.contains(id), let range = ranges[id] else { return nil }
    return Array(bytes[range])
  }
}
