// SPDX-License-Identifier: Apache-2.0

extension Matrix {
  /// Adds `scale` times `other`, of the same shape.
  package mutating func add(_ other: Matrix, scale: Float = 1) {
    precondition(values.count == other.values.count)
    for index in values.indices { values[index] += scale * other.values[index] }
  }

  /// Adds `bias` [columns] to every row.
  package mutating func add(toEachRow bias: [Float]) {
    precondition(bias.count == columns)
    for row in 0..<rows {
      for column in 0..<columns { values[row * columns + column] += bias[column] }
    }
  }

  /// Rows divided by their norm, or by `floor` where that is larger.
  package func normalised(floor: Float) -> Matrix {
    var result = self
    for (row, norm) in rowNorms().enumerated() {
      let scale = 1 / max(norm, floor)
      for index in row * columns..<(row + 1) * columns { result.values[index] *= scale }
    }
    return result
  }

  /// Nil for a matrix of zeros.
  package var unlessZero: Matrix? { values.allSatisfy { $0 == 0 } ? nil : self }

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
