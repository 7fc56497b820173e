// SPDX-License-Identifier: Apache-2.0
//
// What a synthetic model computes, by the definitions and one token at a time.

import Foundation

/// The choice of one router for all tokens: per token, physical experts with weights.
public struct NaiveRouting {
  public var choices: [[(expert: Int, weight: Double)]]

  public init(choices: [[(expert: Int, weight: Double)]]) { self.choices = choices }

  public func load(_ experts: Int) -> [Int] {
    var load = [Int](repeating: 0, count: experts)
    for (expert, _) in choices.joined() { load[expert] += 1 }
    return load
  }

  /// The choices by logical expert, where `map` says which one each physical expert holds.
  public func logicalExperts(_ map: [Int]) -> [[Int: Double]] {
    choices.map { choice in
      choice.reduce(into: [:]) { $0[map[$1.expert], default: 0] += $1.weight }
    }
  }
}

/// Routes with the layer's own gate and bias, or with others.
public func naiveRoute(
  _ model: SyntheticModel, _ layer: SyntheticModel.Layer, gate: [Float]? = nil,
  bias: [Float]? = nil, tokens: Range<Int>? = nil
) -> NaiveRouting {
  let gate = gate ?? layer.gate
  let bias = bias ?? layer.bias
  return NaiveRouting(
    choices: (tokens ?? 0..<model.tokens).map { token in
      let input = layer.inputs[token * model.hidden..<(token + 1) * model.hidden]
      // Integers times a power of two: exact.
      let logits = (0..<model.experts).map { expert in
        zip(input, gate[expert * model.hidden..<(expert + 1) * model.hidden])
          .reduce(Float(0)) { $0 + $1.0 * $1.1 }
      }
      return naiveChoice(model, logits, bias: bias)
    })
}

private func naiveChoice(
  _ model: SyntheticModel, _ logits: [Float], bias: [Float]?
) -> [(expert: Int, weight: Double)] {
  let isSigmoid = model.family == .deepseek
  let exponentials = logits.map { exp(Double($0)) }
  let sum = exponentials.reduce(0, +)
  let scores =
    isSigmoid ? logits.map { Double(1 / (1 + expf(-$0))) } : exponentials.map { $0 / sum }
  let chosen = naiveSelection(
    isSigmoid ? logits.map { 1 / (1 + expf(-$0)) } : logits, bias: isSigmoid ? bias : nil,
    topK: model.topK,
    groups: isSigmoid
      ? NaiveGroups(
        count: SyntheticModel.groups, kept: SyntheticModel.keptGroups, best: 2, mask: -.infinity)
      : nil)
  let total = chosen.reduce(0.0) { $0 + scores[$1] }
  let scale = isSigmoid ? Double(SyntheticModel.scale) : 1
  return chosen.map { ($0, scores[$0] / total * scale) }
}

/// sum |x_i - x_j| / (2 n sum x), the definition of the Gini coefficient.
public func gini(_ load: [Int]) -> Double {
  var sum = 0
  for a in load { for b in load { sum += abs(a - b) } }
  return Double(sum) / Double(2 * load.count * load.reduce(0, +))
}

/// The routed experts' output [H] for one token.
public func naiveOutput(
  _ model: SyntheticModel, _ layer: SyntheticModel.Layer, token: Int, weights: [Int: Double]
) -> [Double] {
  let input = layer.inputs[token * model.hidden..<(token + 1) * model.hidden].map(Double.init)
  var output = [Double](repeating: 0, count: model.hidden)
  for (logical, weight) in weights {
    let expert = layer.experts[logical]
    func product(_ matrix: [Float], _ row: Int, _ vector: [Double]) -> Double {
      var sum = 0.0
      for column in vector.indices {
        sum += Double(matrix[row * vector.count + column]) * vector[column]
      }
      return sum
    }
    let inner = (0..<model.width).map { row in
      let gate = product(expert.gate, row, input)
      return gate / (1 + exp(-gate)) * product(expert.up, row, input)
    }
    for row in 0..<model.hidden { output[row] += weight * product(expert.down, row, inner) }
  }
  return output
}
