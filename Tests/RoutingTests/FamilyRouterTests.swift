// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routing
import Tensors
import TestSupport
import Testing

struct FamilyRouterTests {
  /// Names a rule in test output.
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let rule: RoutingRule
    var biased = false
  }

  static let cases: [Case] = [
    Case(
      testDescription: "Mixtral",
      rule: RoutingRule(experts: 8, topK: 2, scoring: .softmax, normalise: true)),
    Case(
      testDescription: "OLMoE",
      rule: RoutingRule(experts: 64, topK: 8, scoring: .softmax, normalise: false)),
    Case(
      testDescription: "DeepSeek-V2 in transformers",
      rule: RoutingRule(
        experts: 24, topK: 6, scoring: .softmax, normalise: false, scale: 16,
        groups: .init(count: 8, kept: 3, score: .max, mask: .zero))),
    Case(
      testDescription: "DeepSeek-V2 in llama.cpp",
      rule: RoutingRule(
        experts: 24, topK: 6, scoring: .softmax, normalise: true,
        normaliseGuard: .clamp(6.103515625e-5), scale: 16,
        groups: .init(count: 8, kept: 3, score: .topTwoSum, mask: .negativeInfinity))),
    Case(
      testDescription: "DeepSeek-V3",
      rule: RoutingRule(
        experts: 32, topK: 4, scoring: .sigmoid, normalise: true, normaliseGuard: .add(1e-20),
        scale: 2.5, groups: .init(count: 4, kept: 2, score: .topTwoSum, mask: .negativeInfinity)),
      biased: true),
    Case(
      testDescription: "DeepSeek-V3, old transformers",
      rule: RoutingRule(
        experts: 32, topK: 4, scoring: .sigmoid, normalise: true, normaliseGuard: .add(1e-20),
        scale: 2.5, groups: .init(count: 4, kept: 1, score: .topTwoSum, mask: .zero)),
      biased: true),
    Case(
      testDescription: "ERNIE",
      rule: RoutingRule(
        experts: 64, topK: 6, scoring: .softmax, normalise: true, normaliseGuard: .clamp(1e-12)),
      biased: true),
    Case(
      testDescription: "GPT-OSS",
      rule: RoutingRule(experts: 32, topK: 4, scoring: .softmaxOfSelected, normalise: false)),
    Case(
      testDescription: "Phi-3.5-MoE",
      rule: RoutingRule(experts: 16, topK: 2, scoring: .sparseMixer, normalise: false)),
    Case(
      testDescription: "sqrt softplus",
      rule: RoutingRule(experts: 16, topK: 3, scoring: .sqrtSoftplus, normalise: true)),
  ]

  @Test(arguments: cases) func `every rule equals its naive twin`(_ testCase: Case) {
    var generator = SeededGenerator(seed: 7)
    let rule = testCase.rule
    var logits = randomMatrix(rows: 300, columns: rule.experts, &generator)
    // Half of the tokens get coarse logits, so that ties are common.
    for index in logits.values.indices.prefix(logits.values.count / 2) {
      logits.values[index] = logits.values[index].rounded()
    }
    let bias: [Float]? =
      testCase.biased
      ? (0..<rule.experts).map { _ in Float.random(in: -0.5...0.5, using: &generator) } : nil
    let router = FamilyRouter(
      gate: Matrix(rows: rule.experts, columns: 1), selectionBias: bias, rule: rule)
    let assignment = router.route(logits: logits, threads: 2)
    let zero = [Float](repeating: 0, count: rule.experts)
    for token in 0..<logits.rows {
      let expected = naiveRoute(Array(logits.row(token)), bias: bias ?? zero, rule: rule)
      let range = token * rule.topK..<(token + 1) * rule.topK
      #expect(assignment.experts[range].map { Int($0) } == expected.experts)
      for (weight, reference) in zip(assignment.weights[range], expected.weights) {
        #expect(abs(weight - reference) <= 4e-6 * max(1, abs(reference)))
      }
    }
  }

  @Test func `softmax with renormalisation, by hand`() {
    let rule = RoutingRule(experts: 3, topK: 2, scoring: .softmax, normalise: true)
    // exp: 1, 2, 4 -> the two best are 4/7 and 2/7.
    let assignment = oneToken([0, log(2), log(4)], rule)
    #expect(assignment.experts == [2, 1])
    #expect(zip(assignment.weights, [2.0 / 3, 1.0 / 3]).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  @Test func `a selection bias changes the choice and not the weights`() {
    let rule = RoutingRule(experts: 3, topK: 1, scoring: .sigmoid, normalise: false, scale: 2)
    let assignment = oneToken([0, 1, -1], rule, bias: [0, 0, 0.6])
    // sigmoid: 0.5, 0.731, 0.269 + 0.6.
    #expect(assignment.experts == [2])
    #expect(abs(assignment.weights[0] - 2 * 0.26894143) < 1e-6)
  }

  @Test func `a group is judged by its best or by its two best`() {
    var rule = RoutingRule(
      experts: 6, topK: 2, scoring: .softmaxOfSelected, normalise: false,
      groups: .init(count: 3, kept: 1, score: .max, mask: .negativeInfinity))
    let logits: [Float] = [5, 0, 4, 3, 1, 1]
    #expect(oneToken(logits, rule).experts == [0, 1])
    rule.groups?.score = .topTwoSum
    #expect(oneToken(logits, rule).experts == [2, 3])
  }

  @Test func `a zero mask beats negative scores and minus infinity does not`() {
    var rule = RoutingRule(
      experts: 4, topK: 2, scoring: .softmaxOfSelected, normalise: false,
      groups: .init(count: 2, kept: 1, score: .max, mask: .zero))
    let logits: [Float] = [2, -1, 1, 1]
    #expect(oneToken(logits, rule).experts == [0, 2])
    rule.groups?.mask = .negativeInfinity
    #expect(oneToken(logits, rule).experts == [0, 1])
  }

  @Test func `ties go to the lowest expert and the lowest group`() {
    let rule = RoutingRule(
      experts: 6, topK: 2, scoring: .sigmoid, normalise: true,
      groups: .init(count: 3, kept: 2, score: .topTwoSum, mask: .negativeInfinity))
    #expect(oneToken([1, 1, 1, 1, 1, 1], rule).experts == [0, 1])
    #expect(oneToken([0, 0, 0, 1, 1, 0], rule).experts == [3, 4])
  }

  @Test func `the sparse mixer weighs each choice among its near rivals`() {
    let rule = RoutingRule(
      experts: 4, topK: 2, scoring: .sparseMixer, normalise: false, jitter: 0.01)
    // Relative gaps to 10: 0.01, 0.05, 2. Only expert 1 is within 0.02 of the best; for the
    // second choice (9.9) nothing else is: (9.9 - 9.5) / 9.9 = 0.04.
    let assignment = oneToken([10, 9.9, 9.5, -10], rule)
    #expect(assignment.experts == [0, 1])
    #expect(abs(assignment.weights[0] - 1 / (1 + Float(exp(-0.1)))) < 1e-6)
    #expect(assignment.weights[1] == 1)
  }

  @Test func `renormalisation guards act on vanishing sums`() {
    var rule = RoutingRule(experts: 2, topK: 1, scoring: .sigmoid, normalise: true)
    rule.normaliseGuard = .clamp(0.5)
    #expect(abs(oneToken([-3, -4], rule).weights[0] - 0.04742587 / 0.5) < 1e-6)
    rule.normaliseGuard = .add(0.1)
    #expect(abs(oneToken([-3, -4], rule).weights[0] - 0.04742587 / 0.14742587) < 1e-6)
  }

  @Test func `a token of NaN still gets distinct experts`() {
    let rule = RoutingRule(experts: 5, topK: 3, scoring: .softmax, normalise: true)
    #expect(oneToken([.nan, .nan, .nan, .nan, .nan], rule).experts == [0, 1, 2])
  }

  @Test func `BF16 rounds to the nearest value`() {
    // 1 + 3/256 is halfway between two BF16 values; ties go to even.
    #expect((1 + Float(3) / 256).roundedToBF16 == 1 + Float(4) / 256)
    #expect((1 + Float(1) / 256).roundedToBF16 == 1)
  }

  @Test func `the result does not depend on the number of threads`() {
    var generator = SeededGenerator(seed: 3)
    let inputs = randomMatrix(rows: 2500, columns: 8, &generator)
    for testCase in Self.cases {
      let gate = randomMatrix(rows: testCase.rule.experts, columns: 8, &generator)
      let bias = [Float](repeating: 0.25, count: testCase.rule.experts)
      let router = FamilyRouter(gate: gate, logitBias: bias, rule: testCase.rule)
      let one = router.route(inputs, threads: 1)
      #expect(one == router.route(inputs, threads: 2))
      #expect(one == router.route(inputs, threads: 3))
    }
  }

  private func oneToken(
    _ logits: [Float], _ rule: RoutingRule, bias: [Float]? = nil
  ) -> Assignment {
    FamilyRouter(gate: Matrix(rows: logits.count, columns: 1), selectionBias: bias, rule: rule)
      .route(logits: Matrix(rows: 1, columns: logits.count, values: logits), threads: 1)
  }
}
