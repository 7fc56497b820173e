// SPDX-License-Identifier: Apache-2.0

import Checkpoints

/// The merges of a GGUF vocabulary. llama.cpp merges texts, not tokens: what a merge makes need not
/// be a token, and ends as the tokens of its bytes where nothing takes it up.
struct GGUFMerges {
  private(set) var table: MergeTable
  /// Texts in merges that are no tokens, by their symbols from the number of tokens on.
  private(set) var bare: [[UInt8]] = []
  private var symbols: TokenTable
  let firstBare: UInt32

  init(_ merges: GGUFStrings, tokens: TokenTable, count: Int) {
    table = MergeTable(capacity: merges.count)
    symbols = tokens
    firstBare = UInt32(count)
    for rank in merges.indices {
      let merge = merges.bytes(at: rank)
      // The first character belongs to the left token, even if it is a space.
      guard let space = merge.dropFirst().firstIndex(of: UInt8(ascii: " ")) else { continue }
      let (left, right) = (merge[..<space], merge[(space + 1)...])
      table.insert(
        symbol(left), symbol(right), rank: UInt32(rank), merged: symbol(Array(left) + right),
        keep: .first)
    }
  }

  private mutating func symbol(_ text: some Collection<UInt8>) -> UInt32 {
    if let known = symbols.id(of: text) { return known }
    let symbol = firstBare + UInt32(bare.count)
    _ = symbols.insert(text, id: symbol)
    bare.append(Array(text))
    return symbol
  }
}
