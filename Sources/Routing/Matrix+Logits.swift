// SPDX-License-Identifier: Apache-2.0

package import Tensors

extension Matrix {
  /// Adds `bias` [columns] to every row.
  package mutating func add(toEachRow bias: [Float]) {
    precondition(bias.count == columns)
    for row in 0..<rows {
      for column in 0..<columns { values[row * columns + column] += bias[column] }
    }
  }

  /// Rounds every value to the nearest BF16 (ties to even), as a BF16 matrix product stores it.
  package mutating func roundToBF16() {
    for index in values.indices { values[index] = values[index].roundedToBF16 }
  }
}

extension Float {
  /// The nearest BF16 value, ties to even; NaN and infinities stay.
  package var roundedToBF16: Float {
    guard isFinite else { return self }
    let bits = bitPattern
    return Float(bitPattern: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) & 0xFFFF_0000)
  }
}
