// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Tensors

/// Cosines and sines of a rotation at every position of a pass.
struct RopeTable: Sendable {
  let interleaved: Bool
  /// [positions, d/2].
  let cosine: MatrixView
  let sine: MatrixView
  private let queryGrowth: Rope.QueryGrowth?

  init(_ rope: Rope, positions: Int) {
    interleaved = rope.interleaved
    queryGrowth = rope.queryGrowth
    (cosine, sine) = rope.tables(positions: positions)
  }

  /// Rotates each row of `values` [n,d] by the angles of its position.
  func rotate(_ values: MatrixView, positions: ArraySlice<Int32>) {
    values.rotate(cosine: cosine, sine: sine, positions: positions, interleaved: interleaved)
  }

  /// Multiplies each row of `queries` by what its position makes it grow by.
  func grow(_ queries: MatrixView, positions: ArraySlice<Int32>) {
    guard let queryGrowth else { return }
    for (row, position) in positions.enumerated() {
      let factor = queryGrowth.factor(position)
      if factor != 1 { queries[row..<row + 1].multiply(by: factor) }
    }
  }
}

/// The tables of a pass: one for each rotation that its layers have, made when a layer asks first.
package final class RopeTables: Sendable {
  let positions: Int
  private let tables = Locked<[Rope: RopeTable]>([:])

  /// Tables for positions below `positions`.
  init(positions: Int) { self.positions = positions }

  /// The table of `rope` for a layer of the model that `reader` reads; throws where the pass is
  /// longer than what the rotation holds for.
  func table(of rope: Rope, _ reader: WeightReader) throws(RegateError) -> RopeTable {
    if let limit = rope.limit, positions > limit.positions {
      let isGGUF = reader.layout.container == .gguf
      throw RegateError(
        .unsupported, file: reader.checkpoint.path,
        subject: isGGUF ? "rope_factors_short.weight" : "rope_type",
        "is \(limit.kind), which rotates otherwise beyond \(limit.positions) tokens, but a sequence"
          + " has \(positions)",
        advice: "give a `length` of at most \(limit.positions)")
    }
    return tables.withLock { tables in
      if let table = tables[rope] { return table }
      let table = RopeTable(rope, positions: positions)
      tables[rope] = table
      return table
    }
  }
}
