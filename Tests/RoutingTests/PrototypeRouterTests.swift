// SPDX-License-Identifier: Apache-2.0

import Routing
import Tensors
import TestSupport
import Testing

struct PrototypeRouterTests {
  @Test(arguments: FamilyRouterTests.cases)
  func `with identity maps and a full latent space it equals the family's router`(
    _ testCase: FamilyRouterTests.Case
  ) {
    var generator = SeededGenerator(seed: 11)
    let rule = testCase.rule
    let inputs = randomMatrix(rows: 400, columns: 10, &generator)
    let gate = randomMatrix(rows: rule.experts, columns: 10, &generator)
    let bias: [Float]? =
      testCase.biased
      ? (0..<rule.experts).map { _ in Float.random(in: -0.2...0.2, using: &generator) } : nil
    let family = FamilyRouter(gate: gate, selectionBias: bias, rule: rule)
    let prototype = router(encoder: gate, rule: rule, selectionBias: bias)
    #expect(prototype.route(inputs, threads: 2) == family.route(inputs, threads: 2))
  }

  @Test func `a pruned expert keeps its share of the softmax and is never chosen`() {
    let rule = RoutingRule(experts: 3, topK: 1, scoring: .softmax, normalise: false)
    var prototype = router(encoder: identity(3), rule: rule)
    let x = Matrix(rows: 1, columns: 3, values: [3, 2, 1])
    let before = prototype.scores(prototype.latent(x, threads: 1), threads: 1)
    prototype.physicalToLogical = [1, 1, 2]
    let assignment = prototype.route(x, threads: 1)
    #expect(prototype.physicalToLogical[Int(assignment.experts[0])] == 1)
    #expect(assignment.weights == [before[0, 1]])
  }

  @Test func `among clones the nearest serves, and its bias moves the border`() {
    let rule = RoutingRule(experts: 2, topK: 1, scoring: .sigmoid, normalise: false)
    var prototype = router(encoder: identity(2), rule: rule)
    prototype.physicalToLogical = [0, 0]
    prototype.clonePrototypes = identity(2)
    let x = Matrix(rows: 3, columns: 2, values: [2, 1, 1, 2, 1, 1])
    #expect(prototype.route(x, threads: 1).experts == [0, 1, 0])
    prototype.cloneBias = [0, 1.5]
    #expect(prototype.route(x, threads: 1).experts == [1, 1, 1])
    #expect(
      prototype.route(x, threads: 1).weights
        == router(encoder: identity(2), rule: rule)
        .route(x, threads: 1).weights.enumerated().map { $0 == 1 ? 0.7310586 : $1 })
  }

  @Test func `token-dependent biases move the choice, and never the weights`() {
    let rule = RoutingRule(experts: 3, topK: 1, scoring: .sigmoid, normalise: false)
    var prototype = router(encoder: identity(3), rule: rule)
    let x = Matrix(rows: 2, columns: 3, values: [2, 1, 0, 1, 2, 0])
    let before = prototype.scores(prototype.latent(x, threads: 1), threads: 1)
    #expect(prototype.route(x, threads: 1).experts == [0, 1])
    // Only where the first coordinate is large does expert 2 gain 0.6 x 2 over 0.8808 - 0.5.
    prototype.tokenBias = Matrix(rows: 3, columns: 3, values: [0, 0, 0, 0, 0, 0, 0.6, -0.5, 0])
    let assignment = prototype.route(x, threads: 1)
    #expect(assignment.experts == [2, 1])
    #expect(assignment.weights == [before[0, 2], before[1, 1]])
  }

  @Test func `a group's score counts a cloned expert once`() {
    let rule = RoutingRule(
      experts: 4, topK: 1, scoring: .softmaxOfSelected, normalise: false,
      groups: .init(count: 2, kept: 1, score: .topTwoSum, mask: .negativeInfinity))
    var prototype = router(encoder: identity(4), rule: rule)
    // Group 0 holds expert 0 twice: its score is 5, not 10; group 1's is 3 + 3.
    prototype.physicalToLogical = [0, 0, 2, 3]
    let x = Matrix(rows: 1, columns: 4, values: [5, 4, 3, 3])
    #expect(prototype.route(x, threads: 1).experts == [2])
  }

  @Test func `the result does not depend on the number of threads`() {
    var generator = SeededGenerator(seed: 5)
    let rule = RoutingRule(experts: 8, topK: 2, scoring: .softmax, normalise: true)
    var prototype = router(encoder: randomMatrix(rows: 8, columns: 6, &generator), rule: rule)
    prototype.physicalToLogical = [0, 0, 2, 3, 0, 5, 5, 7]
    prototype.clonePrototypes = randomMatrix(rows: 8, columns: 8, &generator)
    let x = randomMatrix(rows: 3000, columns: 6, &generator)
    let one = prototype.route(x, threads: 1)
    #expect(one == prototype.route(x, threads: 2))
    #expect(one == prototype.route(x, threads: 3))
    #expect(one.load(experts: 8).reduce(0, +) == 6000)
  }

  private func identity(_ size: Int) -> Matrix {
    var matrix = Matrix(rows: size, columns: size)
    for index in 0..<size { matrix[index, index] = 1 }
    return matrix
  }

  private func router(
    encoder: Matrix, rule: RoutingRule, selectionBias: [Float]? = nil
  ) -> PrototypeRouter {
    let zero = [Float](repeating: 0, count: rule.experts)
    return PrototypeRouter(
      encoder: .linear(encoder), logicalPrototypes: identity(rule.experts),
      selectionBias: selectionBias ?? zero, physicalToLogical: Array(0..<rule.experts),
      clonePrototypes: Matrix(rows: rule.experts, columns: rule.experts), cloneBias: zero,
      rule: rule)
  }
}
