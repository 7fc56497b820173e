// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct SelectionBiasSolverTests {
  @Test func `uneven targets are reached, and pruned experts get nothing`() {
    let rule = SyntheticLayer.softmax
    let layer = SyntheticLayer(rule: rule, tokens: 6000, seed: 1)
    let scores = rule.scores(layer.router.logits(layer.calibration, threads: 2), threads: 2)
    var selectable = [Bool](repeating: true, count: 16)
    selectable[3] = false
    var targets = (0..<16).map { Double($0 + 4) }
    targets[3] = 0
    let sum = targets.reduce(0, +)
    targets = targets.map { $0 / sum }
    let solver = SelectionBiasSolver(rule: rule, selectable: selectable, threads: 2)
    let zeros = [Float](repeating: 0, count: 16)
    let bias = solver.solve(scores: scores, targets: targets, from: zeros)
    func load(_ bias: [Float]) -> [Int] {
      Selection(rule: rule, bias: bias, selectable: selectable).load(scores, threads: 1)
    }
    /// The share of assignments that are off target.
    func misplaced(_ bias: [Float]) -> Double {
      zip(load(bias), targets).reduce(0) {
        $0 + abs(Double($1.0) / Double(scores.rows * rule.topK) - $1.1)
      } / 2
    }
    #expect(misplaced(zeros) > 0.1)
    #expect(misplaced(bias) < 0.002)
    #expect(load(bias)[3] == 0)
  }

  @Test func `cells of a split are equal, and stable across texts`() throws {
    // Dimension 0 differs between texts, dimension 1 between tokens.
    var generator = SeededGenerator(seed: 2)
    var latent = SyntheticLayer.normal(4096, 2, &generator)
    let drifts = SyntheticLayer.normal(32, 1, &generator)
    for token in 0..<4096 { latent[token, 0] = drifts[token / 128, 0] + 0.3 * latent[token, 0] }
    let split = try CloneSplit(latent: latent, tokens: Array(0..<4096), count: 4)
    #expect(abs(split.prototypes[1, 1]) > 10 * abs(split.prototypes[1, 0]))
    var load = [Int](repeating: 0, count: 4)
    for token in 0..<4096 {
      let nearness = (0..<4).map { cell in
        latent[token, 0] * split.prototypes[cell, 0] + latent[token, 1] * split.prototypes[cell, 1]
          + split.bias[cell]
      }
      load[nearness.indices.max { nearness[$0] < nearness[$1] } ?? 0] += 1
    }
    #expect(load.allSatisfy { abs($0 - 1024) <= 2 })
  }
}
