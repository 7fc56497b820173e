// SPDX-License-Identifier: Apache-2.0

import Foundation
import Tensors

/// Weighs a network's output for token x by sigmoid(x · w): the gate of a shared expert (Qwen).
struct OutputGate: Sendable {
  /// w [1,H].
  let weight: MatrixView

  /// Adds `factor` times the weighted `output` [n,H] for `inputs` [n,H] to `result` [n,H].
  func add(
    _ output: MatrixView, of inputs: MatrixView, times factor: Float, to result: MatrixView
  ) {
    let logits = MatrixView(rows: inputs.rows, columns: 1)
    logits.multiply(inputs, transposed: weight)
    for row in 0..<inputs.rows {
      result.add(output, row: row, times: factor / (1 + exp(-logits[row, 0])), to: row)
    }
  }
}
