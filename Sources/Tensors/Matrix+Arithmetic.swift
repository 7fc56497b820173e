// SPDX-License-Identifier: Apache-2.0

import CKernels

extension Matrix {
  /// Adds `scale` times `other`, of the same shape.
  package mutating func add(_ other: Matrix, scale: Float = 1) {
    precondition(values.count == other.values.count)
    let count = values.count
    unsafe values.withUnsafeMutableBufferPointer { target in
      unsafe other.values.withUnsafeBufferPointer { source in
        guard let target = target.baseAddress, let source = source.baseAddress else { return }
        // SAFETY: both hold `count` values, as compared above.
        unsafe rg_add_scaled(rg_best_path(), target, source, scale, count)
      }
    }
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
}

extension Float {
  /// The nearest BF16 value, ties to even; NaN and infinities stay.
  package var roundedToBF16: Float {
    guard isFinite else { return self }
    let bits = bitPattern
    return Float(bitPattern: (bits &+ 0x7FFF &+ ((bits >> 16) & 1)) & 0xFFFF_0000)
  }
}
