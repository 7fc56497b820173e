// SPDX-License-Identifier: Apache-2.0
//
// One expert, y = down(a(gate x, up x)), a the activation: x [T,H], gate and up [I,H], down [H,I],
// y [T,H]; some families' matrices have biases, others' x and y have factors.

package import Tensors

/// The decoded matrices of one expert, ready for products.
package struct PackedExpert: Sendable {
  /// [I,H].
  package let gate: PackedMatrix
  /// [I,H].
  package let up: PackedMatrix
  /// [H,I].
  package let down: PackedMatrix
  package let biases: FeedForwardBiases?
  package let activation: GatedActivation
  /// [H], of the inputs as the router reads them; nil: the expert reads the same.
  let inputFactors: [Float]?
  /// Of what the expert gives.
  let outputFactor: Float

  /// Rows that are worked on at a time.
  package static let blockRows = 512

  package init(
    gate: PackedMatrix, up: PackedMatrix, down: PackedMatrix, biases: FeedForwardBiases? = nil,
    activation: GatedActivation, inputFactors: [Float]? = nil, outputFactor: Float = 1
  ) {
    precondition(gate.rows == up.rows && gate.columns == up.columns)
    precondition(down.rows == gate.columns && down.columns == gate.rows)
    self.gate = gate
    self.up = up
    self.down = down
    self.biases = biases
    self.activation = activation
    self.inputFactors = inputFactors
    self.outputFactor = outputFactor
  }

  /// Writes the expert's output for every row of `inputs` [T,H] to `result` [T,H].
  package func apply(_ inputs: MatrixView, into result: MatrixView) {
    var inputs = inputs
    if let inputFactors {
      let own = MatrixView(rows: inputs.rows, columns: inputs.columns)
      own.copy(inputs)
      own.multiply(eachRowBy: inputFactors)
      inputs = own
    }
    result.feedForward(
      inputs, gate: gate, up: up, down: down, biases: biases, activation: activation)
    if outputFactor != 1 { result.multiply(by: outputFactor) }
  }

  /// The expert's output for every row of `inputs`.
  package func apply(_ inputs: Matrix, threads: Int = 1) -> Matrix {
    Matrix(rows: inputs.rows, columns: down.rows) { result in
      inputs.withView { inputs in
        forEachBlock(
          count: inputs.rows, blockSize: Self.blockRows, threads: threads
        ) { _, rows in apply(inputs[rows], into: result[rows]) }
      }
    }
  }
}
