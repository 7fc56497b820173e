// SPDX-License-Identifier: Apache-2.0
//
// LPR's exponential moving average of prototypes:
//
//   sums   = decay sums   + (1 - decay) Rᵀ z        z [T,R], responsibilities R [T,F]
//   counts = decay counts + (1 - decay) sum_t R
//   p      = sums / max(counts, 1e-6)
//
// The official code starts with the prototypes as sums but 0 as counts, so that the first update
// divides by too little; and it never calls the update. Mended, counts start at 1: a prototype
// weighs as much as one token, and one whose tokens stay away stays where it is.

package import Tensors

/// The running sums behind averaged prototypes.
package struct PrototypeAverage: Sendable, Equatable {
  package private(set) var sums: Matrix
  package private(set) var counts: [Float]
  package let decay: Float

  private static let floor: Float = 1e-6

  /// `startingCount` 0 is the official code's start.
  package init(prototypes: Matrix, decay: Float, startingCount: Float = 1) {
    precondition((0...1).contains(decay) && startingCount >= 0)
    sums = prototypes
    counts = [Float](repeating: startingCount, count: prototypes.rows)
    self.decay = decay
  }

  /// p [F,R]
  package var prototypes: Matrix {
    var result = sums
    for row in 0..<sums.rows {
      let count = max(counts[row], Self.floor)
      for column in 0..<sums.columns { result[row, column] /= count }
    }
    return result
  }

  /// Takes in one batch.
  package mutating func update(sample: Matrix, responsibilities: Matrix) {
    let batch = LatentLosses.sums(responsibilities, sample)
    let added = responsibilities.columnSums().values
    for index in sums.values.indices {
      sums.values[index] = decay * sums.values[index] + (1 - decay) * batch.values[index]
    }
    for index in counts.indices {
      counts[index] = decay * counts[index] + (1 - decay) * added[index]
    }
  }
}
