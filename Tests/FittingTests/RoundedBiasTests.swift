// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

@Test func `steps of BF16 bring back most of the balance that rounding takes`() {
  var generator = SeededGenerator(seed: 41)
  let rule = RoutingRule(experts: 16, topK: 2, scoring: .sigmoid, normalise: true)
  // Scores a hundredth apart under biases near 4, where BF16 has steps of 1/32 and 1/64.
  var scores = SyntheticLayer.normal(4096, 16, &generator)
  for index in scores.values.indices { scores.values[index] = 0.5 + 0.05 * scores.values[index] }
  let even = [Double](repeating: 1 / 16, count: 16)
  let start = (0..<16).map { _ in Float.random(in: 3.9...4.1, using: &generator) }
  let exact = SelectionBiasSolver(
    rule: rule, selectable: [Bool](repeating: true, count: 16), threads: 2
  ).solve(scores: scores, targets: even, from: start)
  func gini(_ bias: [Float]) -> Double {
    LoadMetrics(load: Selection(rule: rule, bias: bias).load(scores, threads: 1)).gini ?? 1
  }
  let plain = exact.map(\.roundedToBF16)
  let solved = RoundedBias(rule: rule, scores: scores, threads: 2).solve(exact)
  #expect(solved.allSatisfy { $0 == $0.roundedToBF16 })
  #expect(gini(exact) < 0.02)
  #expect(gini(solved) < gini(plain), "\(gini(exact)), \(gini(plain)), \(gini(solved))")

  // Where nothing is lost by rounding, nothing moves; no value falls below 0.
  let coarse = (0..<16).map { Float($0) / 128 }
  #expect(RoundedBias(rule: rule, scores: scores, threads: 1).solve(coarse) == coarse)
  #expect(
    RoundedBias(rule: rule, scores: scores, threads: 1)
      .solve(exact.map { $0 - 3.9 < 0 ? 0 : $0 - 3.9 }).allSatisfy { $0 >= 0 })
}
