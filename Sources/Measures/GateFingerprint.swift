// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Crypto
import Foundation
package import Tensors

/// What binds captures and fits to the gates that they were made for.
package enum GateFingerprint {
  /// The fingerprint that `tools/capture.py` writes: SHA-256, in hexadecimal, over the MoE layers
  /// in ascending order of the line `layers.{i}.router {E} {H}\n` and the gate [E,H] as
  /// little-endian Float32. Widening BF16 or F16 is exact, so a BF16 checkpoint and a GGUF made of
  /// it have the same fingerprint.
  package static func exact(_ gates: [(layer: Int, gate: Matrix)]) -> String {
    var hash = SHA256()
    for (layer, gate) in gates {
      hash.update(data: Data("layers.\(layer).router \(gate.rows) \(gate.columns)\n".utf8))
      let bytes = gate.values.map { $0.bitPattern.littleEndian }
      bytes.withBytes { hash.update($0) }
    }
    return hash.finalize().hexadecimal
  }

  /// Random projections per gate row in a sketch.
  package static let sketchSize = 8

  /// Largest difference between two sketches of one gate, relative to the row's norm. Storing a
  /// gate as BF16 instead of F32 moves a projection by about 2^-9 of the norm; another gate moves
  /// it by about the norm itself.
  private static let sketchTolerance: Float = 0.02

  /// A few random projections of each row of a gate [E,H], [E,sketchSize], row norms last: the same
  /// up to rounding whatever dtype the gate is stored in.
  package static func sketch(of gate: Matrix) -> Matrix {
    var signs = Matrix(rows: sketchSize - 1, columns: gate.columns)
    // Any fixed signs do.
    var random = SplitMix64(seed: 0)
    for index in signs.values.indices { signs.values[index] = random.next() >> 63 == 0 ? 1 : -1 }
    let projections = LinearAlgebra.multiply(gate, transposed: signs)
    var sketch = Matrix(rows: gate.rows, columns: sketchSize)
    for row in 0..<gate.rows {
      for column in 0..<sketchSize - 1 { sketch[row, column] = projections[row, column] }
      let squares = gate.row(row).reduce(0.0) { $0 + Double($1) * Double($1) }
      sketch[row, sketchSize - 1] = Float(squares.squareRoot())
    }
    return sketch
  }

  /// Whether two sketches are of one gate.
  package static func agree(_ a: Matrix, _ b: Matrix) -> Bool {
    guard a.rows == b.rows, a.columns == b.columns else { return false }
    for row in 0..<a.rows {
      let limit = sketchTolerance * max(a[row, sketchSize - 1], b[row, sketchSize - 1])
      for column in 0..<a.columns where abs(a[row, column] - b[row, column]) > limit {
        return false
      }
    }
    return true
  }
}
