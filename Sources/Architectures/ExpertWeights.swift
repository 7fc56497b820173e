// SPDX-License-Identifier: Apache-2.0
//
// One expert, y = down(a(gate x, up x)), a the activation: x [T,H], gate and up [I,H], down [H,I],
// y [T,H].

package import Tensors

/// The decoded matrices of one expert.
package struct ExpertWeights: Sendable {
  /// [I,H].
  package let gate: Matrix
  /// [I,H].
  package let up: Matrix
  /// [H,I].
  package let down: Matrix
  package let activation: GatedActivation

  package init(
    gate: Matrix, up: Matrix, down: Matrix, activation: GatedActivation
  ) {
    precondition(gate.rows == up.rows && gate.columns == up.columns)
    precondition(down.rows == gate.columns && down.columns == gate.rows)
    self.gate = gate
    self.up = up
    self.down = down
    self.activation = activation
  }

  /// Rows that are worked on at a time.
  package static let blockRows = 512

  /// The expert's output for every row of `inputs`.
  package func apply(_ inputs: Matrix, threads: Int = 1) -> Matrix {
    Matrix(rows: inputs.rows, columns: down.rows) { result in
      inputs.withView { inputs in
        gate.withView { gate in
          up.withView { up in
            down.withView { down in
              let expert = PackedExpert(
                gate: PackedMatrix(gate, uses: inputs.rows),
                up: PackedMatrix(up, uses: inputs.rows),
                down: PackedMatrix(down, uses: inputs.rows), activation: activation)
              forEachBlock(
                count: inputs.rows, blockSize: Self.blockRows, threads: threads
              ) { _, rows in expert.apply(inputs[rows], into: result[rows]) }
            }
          }
        }
      }
    }
  }
}

/// The same matrices, ready for products.
package struct PackedExpert: Sendable {
  package let gate: PackedMatrix
  package let up: PackedMatrix
  package let down: PackedMatrix
  package let activation: GatedActivation

  /// Writes the expert's output for every row of `inputs` [T,H] to `result` [T,H].
  package func apply(_ inputs: MatrixView, into result: MatrixView) {
    result.feedForward(inputs, gate: gate, up: up, down: down, activation: activation)
  }
}
