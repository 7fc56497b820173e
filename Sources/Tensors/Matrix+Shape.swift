// SPDX-License-Identifier: Apache-2.0

extension Matrix {
  /// One row.
  package init(row: [Float]) { self.init(rows: 1, columns: row.count, values: row) }

  /// The unit matrix [size, size].
  package static func identity(_ size: Int) -> Matrix {
    var result = Matrix(rows: size, columns: size)
    for index in 0..<size { result[index, index] = 1 }
    return result
  }

  /// The matrix with rows and columns exchanged.
  package func transposed() -> Matrix {
    var result = Matrix(rows: columns, columns: rows)
    for row in 0..<rows {
      for column in 0..<columns {
        result.values[column * rows + row] = values[row * columns + column]
      }
    }
    return result
  }

  /// The given columns of every row.
  package func columns(_ range: Range<Int>) -> Matrix {
    var values: [Float] = []
    values.reserveCapacity(rows * range.count)
    for row in 0..<rows {
      values += self.values[row * columns + range.lowerBound..<row * columns + range.upperBound]
    }
    return Matrix(rows: rows, columns: range.count, values: values)
  }

  /// The columns of both, side by side.
  package func joined(_ other: Matrix) -> Matrix {
    precondition(rows == other.rows)
    var values: [Float] = []
    values.reserveCapacity(self.values.count + other.values.count)
    for row in 0..<rows {
      values += self.row(row)
      values += other.row(row)
    }
    return Matrix(rows: rows, columns: columns + other.columns, values: values)
  }
}
