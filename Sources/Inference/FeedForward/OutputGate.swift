// SPDX-License-Identifier: Apache-2.0

import Foundation
import Tensors

/// Weighs a network's output for token x by sigmoid(x · w): the gate of a shared expert (Qwen).
struct OutputGate: Sendable {
  /// w [1,H].
  let weight: MatrixView

  /// Adds the weighted `output` [n,H] for `inputs` [n,H] to `result` [n,H].
  func add(_ output: MatrixView, of inputs: MatrixView, to result: MatrixView) {
    let logits = MatrixView(rows: inputs.rows, columns: 1)
    logits.multiply(inputs, transposed: weight)
    for row in 0..<inputs.rows {
      result.add(output, row: row, times: 1 / (1 + exp(-logits[row, 0])), to: row)
    }
  }
}
