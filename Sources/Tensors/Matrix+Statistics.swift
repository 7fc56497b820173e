// SPDX-License-Identifier: Apache-2.0
//
// Sums, means and norms of a matrix, in Double. Sums over many rows are taken in fixed blocks, so
// that they do not depend on the number of threads.

extension Matrix {
  /// The mean of each column, [columns].
  package func columnMeans(threads: Int) -> [Double] {
    meanOfRows(threads: threads) { $0 }
  }

  /// The mean of squares of each column, [columns].
  package func columnMeanSquares(threads: Int) -> [Double] {
    meanOfRows(threads: threads) { $0 * $0 }
  }

  @inline(__always)
  private func meanOfRows(
    threads: Int, _ term: @Sendable (Double) -> Double
  ) -> [Double] {
    let partials = mapBlocks(count: rows, blockSize: 4096, threads: threads) { _, range in
      var sums = [Double](repeating: 0, count: columns)
      for row in range {
        for column in 0..<columns { sums[column] += term(Double(values[row * columns + column])) }
      }
      return sums
    }
    var total = [Double](repeating: 0, count: columns)
    for partial in partials { for column in 0..<columns { total[column] += partial[column] } }
    return total.map { $0 / Double(max(1, rows)) }
  }

  /// The sum of each column, as one row [1, columns].
  package func columnSums() -> Matrix {
    var sums = [Double](repeating: 0, count: columns)
    let span = values.span
    for row in 0..<rows {
      for column in 0..<columns { sums[column] += Double(span[row * columns + column]) }
    }
    return Matrix(row: sums.map { Float($0) })
  }

  /// The Euclidean norm of each row, [rows].
  package func rowNorms() -> [Float] {
    let span = values.span
    return (0..<rows).map { row in
      var sum = 0.0
      for index in row * columns..<(row + 1) * columns {
        sum += Double(span[index]) * Double(span[index])
      }
      return Float(sum.squareRoot())
    }
  }

  /// Root of the mean of all squares; 0 for a matrix without values.
  package var rootMeanSquare: Float {
    let sum = values.reduce(0.0) { $0 + Double($1) * Double($1) }
    return values.isEmpty ? 0 : Float((sum / Double(values.count)).squareRoot())
  }

  /// The mean, over every `step`-th row, of the distance from the row's largest to its `rank`-th
  /// next value: of scores and K, from the best to the first that is not chosen. Distances that are
  /// not finite count as 0; 1e-3 where nothing differs.
  package func meanSpread(rank: Int, every step: Int = 1) -> Float {
    let last = min(rank, columns - 1)
    // The largest values of a row, in order.
    var best = [Float](repeating: 0, count: last + 1)
    var sum = 0.0
    var count = 0.0
    for index in stride(from: 0, to: rows, by: step) {
      for place in best.indices { best[place] = -.infinity }
      for value in row(index) where value > best[last] {
        var place = last
        while place > 0, value > best[place - 1] {
          best[place] = best[place - 1]
          place -= 1
        }
        best[place] = value
      }
      let spread = Double(best[0] - best[last])
      if spread.isFinite { sum += spread }
      count += 1
    }
    return sum > 0 ? Float(sum / count) : 1e-3
  }
}
