// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routing
import Tensors
import TestSupport

private func softmax(_ values: [Float]) -> [Float] {
  let largest = values.max() ?? 0
  let sum = values.map { expf($0 - largest) }.reduce(0, +)
  return values.map { expf($0 - largest) / sum }
}

/// The obvious way to route one token.
func naiveRoute(
  _ logits: [Float], bias: [Float], rule: RoutingRule
) -> (experts: [Int], weights: [Float]) {
  let scores: [Float] =
    switch rule.scoring {
    case .softmax:
      softmax(logits)
    case .sigmoid: logits.map { 1 / (1 + expf(-$0)) }
    case .sqrtSoftplus: logits.map { sqrtf(Float(log1p(exp(Double($0))))) }
    case .softmaxOfSelected, .sparseMixer: logits
    }
  let groups = rule.groups.map {
    NaiveGroups(
      count: $0.count, kept: $0.kept, best: $0.score == .max ? 1 : 2,
      mask: $0.mask == .zero ? 0 : -.infinity)
  }
  let chosen = naiveSelection(scores, bias: bias, topK: rule.topK, groups: groups)
  var weights = chosen.map { scores[$0] }
  if rule.scoring == .softmaxOfSelected {
    weights = softmax(weights)
  }
  if rule.scoring == .sparseMixer {
    var open = Set(logits.indices)
    weights = chosen.map { expert in
      let m = logits[expert]
      let near = open.filter { !((m - logits[$0]) / max(abs(logits[$0]), m) > 2 * rule.jitter) }
      let sum = near.reduce(Float(0)) { $0 + expf(logits[$1] - m) }
      open.remove(expert)
      return 1 / sum
    }
  }
  if rule.normalise {
    let sum = weights.reduce(0, +)
    let divisor: Float =
      switch rule.normaliseGuard {
      case .none: sum
      case .add(let epsilon): sum + epsilon
      case .clamp(let floor): max(sum, floor)
      }
    weights = weights.map { $0 / divisor }
  }
  return (chosen, weights.map { $0 * rule.scale })
}

/// Roughly normal values in a matrix.
func randomMatrix(rows: Int, columns: Int, _ generator: inout SeededGenerator) -> Matrix {
  let values = (0..<rows * columns).map { _ in
    (0..<6).reduce(Float(0)) { sum, _ in sum + Float.random(in: -1...1, using: &generator) }
  }
  return Matrix(rows: rows, columns: columns, values: values)
}
