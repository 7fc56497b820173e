// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// Sequences of token ids, one after the other in one row of tokens. They never see each other.
package struct TokenBatch: Sendable {
  /// [T].
  let ids: [Int32]
  /// [T], each token's place in its sequence.
  let positions: [Int32]
  /// The tokens of each sequence.
  package let sequences: [Range<Int>]

  package var count: Int { ids.count }
  var longest: Int { sequences.map(\.count).max() ?? 0 }

  init(_ sequences: [[Int]], vocabularySize: Int) throws(RegateError) {
    var ids: [Int32] = []
    var positions: [Int32] = []
    var ranges: [Range<Int>] = []
    for (number, sequence) in sequences.enumerated() where !sequence.isEmpty {
      for id in sequence {
        guard id >= 0, id < vocabularySize else {
          throw RegateError(
            .mismatch, subject: "sequence \(number)",
            "token id \(id) is out of range, the vocabulary has \(vocabularySize) tokens",
            advice: "make the ids with the model's own tokenizer")
        }
        ids.append(Int32(id))
      }
      positions.append(contentsOf: 0..<Int32(sequence.count))
      ranges.append(ids.count - sequence.count..<ids.count)
    }
    guard !ids.isEmpty else {
      throw RegateError(.missing, subject: "token ids", "there is no token to run")
    }
    self.ids = ids
    self.positions = positions
    self.sequences = ranges
  }

  /// The tokens of consecutive sequences, at least one.
  func tokens(of group: Range<Int>) -> Range<Int> {
    sequences[group.lowerBound].lowerBound..<sequences[group.upperBound - 1].upperBound
  }

  /// Consecutive sequences in groups of up to `limit` tokens, at least one in each.
  func groups(limit: Int) -> [Range<Int>] {
    var groups: [Range<Int>] = []
    var first = 0
    for index in sequences.indices {
      let tokens = sequences[index].upperBound - sequences[first].lowerBound
      if tokens > limit, index > first {
        groups.append(first..<index)
        first = index
      }
    }
    groups.append(first..<sequences.count)
    return groups
  }
}
