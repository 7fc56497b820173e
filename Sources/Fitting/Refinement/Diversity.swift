// SPDX-License-Identifier: Apache-2.0
//
// LPR's diversity losses on rows A [n,R], An = rows divided by max(|a|, 1e-12):
//
//   cosine      mean of the off-diagonal entries of An Anᵀ  = (|sum an|² - sum |an|²) / n(n-1)
//   euclidean   minus the mean off-diagonal distance of the rows, not normalised
//   orthogonal  mean of all n² entries of (An Anᵀ - 1)²     = (|Anᵀ An|² - 2 sum |an|² + n) / n²
//   n < 2       0
//
// The right-hand forms need R x R sums instead of n x n, so that tokens can be rows too. The
// euclidean loss has no lower bound: it always asks for larger vectors.

import Routing
package import Tensors

/// What keeps rows apart from one another.
package enum Diversity: String, Sendable, Hashable, CaseIterable {
  case cosine, euclidean, orthogonal
}

extension Diversity {
  private static let floor: Float = 1e-12
  private static let blockRows = 64

  /// The loss and its gradient with respect to `rows`.
  package func evaluate(_ rows: Matrix, threads: Int) -> (value: Double, gradient: Matrix) {
    let count = Double(rows.rows)
    guard rows.rows > 1 else { return (0, Matrix(rows: rows.rows, columns: rows.columns)) }
    if self == .euclidean { return euclidean(rows, threads: threads) }
    let units = rows.normalised(floor: Self.floor)
    let squares = units.rowNorms().reduce(0) { $0 + Double($1) * Double($1) }
    var gradient = units
    let value: Double
    if self == .cosine {
      let sum = units.columnMeans(threads: threads).map { $0 * count }
      let pairs = count * (count - 1)
      value = (sum.reduce(0) { $0 + $1 * $1 } - squares) / pairs
      for row in 0..<units.rows {
        for column in 0..<units.columns {
          gradient[row, column] = Float(2 * (sum[column] - Double(units[row, column])) / pairs)
        }
      }
    } else {
      let gram = LinearAlgebra.gram(units, threads: threads)
      value = (gram.reduce(0) { $0 + $1 * $1 } - 2 * squares + count) / (count * count)
      let matrix = Matrix(
        rows: units.columns, columns: units.columns, values: gram.map { Float($0) })
      let pulled = LinearAlgebra.multiply(units, matrix, threads: threads)
      let scale = Float(4 / (count * count))
      for index in gradient.values.indices {
        gradient.values[index] = scale * (pulled.values[index] - units.values[index])
      }
    }
    return (value, gradient.throughNormalisation(of: rows, floor: Self.floor))
  }

  private func euclidean(_ rows: Matrix, threads: Int) -> (value: Double, gradient: Matrix) {
    let (count, width) = (rows.rows, rows.columns)
    let pairs = Double(count) * Double(count - 1)
    let parts = mapBlocks(
      count: count, blockSize: Self.blockRows, threads: threads
    ) { _, range in
      var sum = 0.0
      var gradient: [Float] = []
      var pull = [Double](repeating: 0, count: width)
      for row in range {
        for column in 0..<width { pull[column] = 0 }
        for other in 0..<count where other != row {
          var square = 0.0
          for column in 0..<width {
            let difference = Double(rows[row, column] - rows[other, column])
            square += difference * difference
          }
          let distance = square.squareRoot()
          sum += distance
          guard distance > 0 else { continue }
          for column in 0..<width {
            pull[column] += Double(rows[row, column] - rows[other, column]) / distance
          }
        }
        // Each pair counts twice.
        gradient += pull.map { Float(-2 * $0 / pairs) }
      }
      return (sum, gradient)
    }
    return (
      -parts.reduce(0) { $0 + $1.0 } / pairs,
      Matrix(rows: count, columns: width, values: parts.flatMap(\.1))
    )
  }
}
