// SPDX-License-Identifier: Apache-2.0
//
// One expert, y = down(silu(gate x) * (up x)): x [T,H], gate and up [I,H], down [H,I], y [T,H].

import Foundation
public import Tensors

/// The decoded matrices of one expert.
public struct ExpertWeights: Sendable {
  /// [I,H].
  public let gate: Matrix
  /// [I,H].
  public let up: Matrix
  /// [H,I].
  public let down: Matrix

  public init(gate: Matrix, up: Matrix, down: Matrix) {
    precondition(gate.rows == up.rows && gate.columns == up.columns)
    precondition(down.rows == gate.columns && down.columns == gate.rows)
    self.gate = gate
    self.up = up
    self.down = down
  }

  /// The expert's output for every row of `inputs`.
  public func apply(_ inputs: Matrix, threads: Int = 1) -> Matrix {
    var hidden = LinearAlgebra.multiply(inputs, transposed: gate, threads: threads)
    let scale = LinearAlgebra.multiply(inputs, transposed: up, threads: threads)
    hidden.values.withUnsafeMutableBufferPointer { values in
      for index in values.indices {
        let value = values[index]
        values[index] = value / (1 + exp(-value)) * scale.values[index]
      }
    }
    return LinearAlgebra.multiply(hidden, transposed: down, threads: threads)
  }
}
