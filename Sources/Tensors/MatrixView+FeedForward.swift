// SPDX-License-Identifier: Apache-2.0
//
// The gated feed-forward network y = down(a(gate x, up x)): x [T,H], gate and up [I,H], down [H,I],
// y [T,H]; a is the activation, silu(gate x) * (up x) for one.

extension MatrixView {
  /// self = the network's output for the rows of `inputs`, or that added to self.
  package func feedForward(
    _ inputs: MatrixView, gate: PackedMatrix, up: PackedMatrix, down: PackedMatrix,
    activation: GatedActivation, adding: Bool = false
  ) {
    let inner = MatrixView(rows: inputs.rows, columns: gate.rows)
    let factors = MatrixView(rows: inputs.rows, columns: up.rows)
    inner.multiply(inputs, transposed: gate)
    factors.multiply(inputs, transposed: up)
    inner.apply(activation, up: factors)
    multiply(inner, transposed: down, adding: adding)
  }
}
