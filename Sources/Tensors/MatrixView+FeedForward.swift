// SPDX-License-Identifier: Apache-2.0
//
// The gated feed-forward network y = down(a(gate x, up x)): x [T,H], gate and up [I,H], down [H,I],
// y [T,H]; a is the activation, silu(gate x) * (up x) for one. Each matrix may have a bias.

/// What a network's matrices add to their products.
package struct FeedForwardBiases: Sendable {
  /// [I]
  let gate: [Float]
  let up: [Float]
  /// [H]
  let down: [Float]

  package init(gate: [Float], up: [Float], down: [Float]) {
    self.gate = gate
    self.up = up
    self.down = down
  }
}

extension MatrixView {
  /// self = the network's output for the rows of `inputs`, or that added to self.
  package func feedForward(
    _ inputs: MatrixView, gate: PackedMatrix, up: PackedMatrix, down: PackedMatrix,
    biases: FeedForwardBiases? = nil, activation: GatedActivation, adding: Bool = false
  ) {
    let inner = MatrixView(rows: inputs.rows, columns: gate.rows)
    let factors = MatrixView(rows: inputs.rows, columns: up.rows)
    inner.multiply(inputs, transposed: gate)
    factors.multiply(inputs, transposed: up)
    if let biases {
      inner.add(toEachRow: biases.gate)
      factors.add(toEachRow: biases.up)
    }
    inner.apply(activation, up: factors)
    multiply(inner, transposed: down, adding: adding)
    if let biases { add(toEachRow: biases.down) }
  }
}
