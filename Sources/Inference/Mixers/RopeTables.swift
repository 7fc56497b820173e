// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Tensors

/// Cosines and sines of a rotation at every position of a pass.
struct RopeTable: Sendable {
  let interleaved: Bool
  /// [positions, d/2].
  let cosine: MatrixView
  let sine: MatrixView

  init(_ rope: Rope, positions: Int) {
    interleaved = rope.interleaved
    (cosine, sine) = rope.tables(positions: positions)
  }

  /// Rotates each row of `values` [n,d] by the angles of its position.
  func rotate(_ values: MatrixView, positions: ArraySlice<Int32>) {
    values.rotate(cosine: cosine, sine: sine, positions: positions, interleaved: interleaved)
  }
}

/// The tables of a pass: one for each rotation that its layers have, made when a layer asks first.
package final class RopeTables: Sendable {
  private let positions: Int
  private let tables = Mutex<[Rope: RopeTable]>([:])

  /// Tables for positions below `positions`.
  init(positions: Int) { self.positions = positions }

  func table(of rope: Rope) -> RopeTable {
    tables.withLock { tables in
      if let table = tables[rope] { return table }
      let table = RopeTable(rope, positions: positions)
      tables[rope] = table
      return table
    }
  }
}
