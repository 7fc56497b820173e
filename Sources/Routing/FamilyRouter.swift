// SPDX-License-Identifier: Apache-2.0
//
// The router that a family ships: l = x · gateᵀ + logit bias, then the family's rule.

import ByteStorage
package import Tensors

/// A linear gate with the family's rule (facts: transformers 5.23, llama.cpp 0.5).
///
/// Shapes: `gate` [E,H], biases [E]. Ties go to the lowest index.
package struct FamilyRouter: Router {
  package var gate: Matrix
  /// Added to the logits: changes selection and weights (GPT-OSS).
  package var logitBias: [Float]?
  /// Added to the scores for selection only (DeepSeek-V3's `e_score_correction_bias`).
  package var selectionBias: [Float]?
  package var rule: RoutingRule

  package init(
    gate: Matrix, logitBias: [Float]? = nil, selectionBias: [Float]? = nil, rule: RoutingRule
  ) {
    precondition(gate.rows == rule.experts)
    precondition((logitBias?.count ?? gate.rows) == gate.rows)
    precondition((selectionBias?.count ?? gate.rows) == gate.rows)
    self.gate = gate
    self.logitBias = logitBias
    self.selectionBias = selectionBias
    self.rule = rule
  }

  package var experts: Int { gate.rows }

  /// The logits [T,E] of `inputs` [T,H].
  package func logits(_ inputs: Matrix, threads: Int) -> Matrix {
    var logits = LinearAlgebra.multiply(inputs, transposed: gate, threads: threads)
    if let logitBias { logits.add(toEachRow: logitBias) }
    return logits
  }

  package func route(_ inputs: Matrix, threads: Int) -> Assignment {
    route(logits: logits(inputs, threads: threads), threads: threads)
  }

  /// Routes tokens whose `logits` [T,E], logit bias included, are known.
  package func route(logits: Matrix, threads: Int) -> Assignment {
    Selection(rule: rule, bias: selectionBias)
      .assign(rule.scores(logits, threads: threads), threads: threads) { _, expert in expert }
  }
}
