// SPDX-License-Identifier: Apache-2.0

package import Tensors

extension Matrix {
  /// A matrix made in fixed blocks of rows: `body` appends the values of its rows to `block`.
  package static func filling(
    rows: Int, columns: Int, threads: Int,
    _ body: @Sendable (_ rows: Range<Int>, _ block: inout [Float]) -> Void
  ) -> Matrix {
    let blocks = mapBlocks(
      count: rows, blockSize: RoutingRule.blockTokens, threads: threads
    ) { _, range in
      var block: [Float] = []
      block.reserveCapacity(range.count * columns)
      body(range, &block)
      return block
    }
    if blocks.count == 1 { return Matrix(rows: rows, columns: columns, values: blocks[0]) }
    var values: [Float] = []
    values.reserveCapacity(rows * columns)
    for block in blocks { values += block }
    return Matrix(rows: rows, columns: columns, values: values)
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

  /// |row| of each row, summed in Double.
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
}
