// SPDX-License-Identifier: Apache-2.0

/// Where a token stands in the traffic that it was read from.
package struct TokenPlace: Sendable, Hashable {
  /// Name of its set.
  package let set: String
  /// Number of its sequence in the set, from 0; nil for captures, whose sequences are not known.
  package let sequence: Int?
  /// Its position in the sequence, or among the set's captured tokens, from 0.
  package let position: Int
}

extension TrafficSample {
  /// The place of a held-out token, by its row of all tokens; nil for another.
  package func place(ofHeldOut row: Int) -> TokenPlace? {
    guard case .tokens(let set) = calibration else {
      for part in parts {
        if let position = part.heldOut.firstIndex(of: row) {
          return TokenPlace(set: part.name, sequence: nil, position: position)
        }
      }
      return nil
    }
    var number = 0
    var start = 0
    while number < set.sequences.count, start + set.sequences[number].count <= row {
      start += set.sequences[number].count
      number += 1
    }
    for part in parts {
      if let place = part.heldOutSequences.firstIndex(of: number) {
        return TokenPlace(set: part.name, sequence: place, position: row - start)
      }
    }
    return nil
  }
}
