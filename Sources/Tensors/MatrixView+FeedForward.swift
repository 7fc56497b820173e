// SPDX-License-Identifier: Apache-2.0
//
// The gated feed-forward network y = down(silu(gate x) * (up x)): x [T,H], gate and up [I,H],
// down [H,I], y [T,H].

extension MatrixView {
  /// self = down(silu(gate x) * (up x)), or that added to self, of the rows of `inputs`.
  package func feedForward(
    _ inputs: MatrixView, gate: PackedMatrix, up: PackedMatrix, down: PackedMatrix,
    adding: Bool = false
  ) {
    let inner = MatrixView(rows: inputs.rows, columns: gate.rows)
    let factors = MatrixView(rows: inputs.rows, columns: up.rows)
    inner.multiply(inputs, transposed: gate)
    factors.multiply(inputs, transposed: up)
    inner.multiplySiLU(by: factors)
    multiply(inner, transposed: down, adding: adding)
  }
}
