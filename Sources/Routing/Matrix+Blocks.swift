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
}
