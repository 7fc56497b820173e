// SPDX-License-Identifier: Apache-2.0
//
// The order in which a server would meet the tokens of some sequences. Batches that are cut from a
// text as it stands hold a few sequences each, which is what no server does: in decoding, every
// request that runs gives one token, and requests are at different places of their texts. So the
// tokens are put on a circle of length 1, each sequence spread evenly over all of it,
//
//   token i of L in sequence s of S   ->   ((i + 1/2) / L + s / S) mod 1
//
// and taken in that order. Any run of consecutive tokens then holds as many tokens of each sequence
// as that has its share of all, from one place of it, and of each sequence from another place: the
// first tokens of sequences, which are alike, do not come together.

/// Tokens of several sequences mixed as a server mixes them.
package enum ServedOrder {
  /// The rows of `sequences` in that order; every row once.
  package static func rows(_ sequences: [Range<Int>]) -> [Int] {
    var places: [(time: Double, row: Int)] = []
    places.reserveCapacity(sequences.reduce(0) { $0 + $1.count })
    for (number, sequence) in sequences.enumerated() {
      let start = Double(number) / Double(sequences.count)
      for (place, row) in sequence.enumerated() {
        let time = (Double(place) + 0.5) / Double(sequence.count) + start
        places.append((time < 1 ? time : time - 1, row))
      }
    }
    return places.sorted { ($0.time, $0.row) < ($1.time, $1.row) }.map(\.row)
  }
}
