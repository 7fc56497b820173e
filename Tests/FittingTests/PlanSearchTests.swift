// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct PlanSearchTests {
  /// Mixtures of outputs [S,H] that are known for all experts, as the whole vectors give them.
  private static func sketch(_ outputs: [Matrix], tokens: [Int]) -> OutputSketch {
    var builder = OutputSketch.Builder(
      tokens: tokens, experts: outputs.count, hiddenSize: outputs[0].columns)
    for (expert, matrix) in outputs.enumerated() {
      builder.add(expert: expert, sampled: Array(0..<tokens.count), outputs: matrix)
    }
    return builder.finish()
  }

  @Test func `projected mixtures keep squared distances`() {
    var generator = SeededGenerator(seed: 1)
    let outputs = (0..<4).map { _ in SyntheticLayer.normal(600, 48, &generator) }
    let sketch = Self.sketch(outputs, tokens: Array(0..<600))
    func assignment(_ experts: [Int32]) -> Assignment {
      Assignment(
        tokens: 600, topK: 2, experts: (0..<600).flatMap { _ in experts },
        weights: (0..<600).flatMap { _ in [Float(0.75), 0.25] })
    }
    let first = sketch.mixtures(assignment([0, 1]), threads: 1)
    let second = sketch.mixtures(assignment([2, 1]), threads: 2)
    var projected = 0.0
    for (a, b) in zip(first.values, second.values) { projected += Double((a - b) * (a - b)) }
    var whole = 0.0
    for (a, b) in zip(outputs[0].values, outputs[2].values) {
      whole += Double(0.5625 * (a - b) * (a - b))
    }
    #expect(abs(projected / whole - 1) < 0.05)
    #expect(abs(sketch.norms[3] - 6.93) < 0.15, "root of 48, nearly")
  }

  /// Experts in pairs that put out the same, which a search without outputs cannot know.
  @Test(arguments: PrototypeFitTests.rules)
  func `a plan beats none and is no worse than a blind one`(
    _ rule: RoutingRule
  ) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 2048, skew: 1.0, seed: 5)
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 2)
    var generator = SeededGenerator(seed: 6)
    var outputs: [Matrix] = []
    for expert in 0..<rule.experts {
      outputs.append(
        expert % 2 == 0 ? SyntheticLayer.normal(2048, 16, &generator) : outputs[expert - 1])
    }
    let all = Array(0..<2048)
    let zeros = [Float](repeating: 0, count: rule.experts)
    let scores = rule.scores(set.logits, threads: 2)
    let loads = set.load.map(Double.init)
    func search(_ sketch: OutputSketch) -> PlanSearch {
      PlanSearch(
        rule: rule, scores: scores, original: set.assignment, sketch: sketch,
        start: layer.router.selectionBias ?? zeros, threads: 2)
    }
    let measured = search(Self.sketch(outputs, tokens: all))
    let blind = search(OutputSketch(orthogonal: all, experts: rule.experts))
    let found = measured.plan(loads: loads, weights: set.routingWeights)
    let guessed = blind.plan(loads: loads, weights: set.routingWeights)
    let none = ClonePlan(
      rule: rule, physicalPerLogical: [Int](repeating: 1, count: rule.experts), values: loads,
      loads: loads)
    #expect(measured.error(of: found) <= measured.error(of: guessed) * (1 + 1e-9))
    #expect(measured.error(of: found) < 0.7 * measured.error(of: none))
    #expect(!found.moves.isEmpty)
  }
}
