// SPDX-License-Identifier: Apache-2.0
//
// Gradient steps (Adam, minibatches, cosine decay) on encoder, prototypes, the similarity's own
// parameters, scale and function biases, against RoutingObjective.
//
// 1. Never worse: part of the tokens is held out; the router with the best outcome there (distance
//    plus balance term) is returned, which is the one that came in where no step helped.
// 2. Deterministic: one seeded generator, batches and sums in fixed order.
// 3. Rates without tuning: each matrix moves in steps relative to its own size, the columns of the
//    first linear map relative to what feeds them.
//
// Potentials and slot prototypes stay: they are solved again afterwards.

import Foundation
package import Routing
import Tensors

package struct RouterRefinement: Sendable {
  package struct Options: Sendable, Hashable {
    package var weights = LossWeights()
    package var steps = 800
    package var batch = 512
    /// The first step relative to the root mean square of what moves.
    package var rate: Float = 0.02
    package var seed: UInt64 = 0
    package var threads = 1

    package init() {}
  }

  /// What came out.
  package struct Result: Sendable {
    package let router: PrototypeRouter
    /// The step whose router is returned; 0 is the start.
    package let step: Int
    /// The objective's outcome on held-out tokens, before and after.
    package let before: Double
    package let after: Double
  }

  private static let evaluateEvery = 50
  /// Evaluations without gain before stopping.
  private static let patience = 5
  private static let heldOutTokens = 4096

  package let set: CalibrationSet
  package let options: Options
  private let fitted: [Int]
  private let heldOut: CalibrationSet
  private let objective: RoutingObjective

  package init(_ set: CalibrationSet, options: Options) {
    precondition(options.steps >= 0 && options.batch > 0 && options.rate > 0)
    self.set = set
    self.options = options
    let parts = set.split()
    fitted = parts?.fitted ?? Array(0..<set.tokens)
    // Too few tokens to hold any out: judged on all of them.
    heldOut = (parts.map { set.gathering($0.heldOut) } ?? set).sample(Self.heldOutTokens)
    objective = RoutingObjective(weights: options.weights, threads: options.threads)
  }

  package func refine(_ start: PrototypeRouter) -> Result {
    var learner = Learner(start, inputs: heldOut.inputs, rate: options.rate)
    var generator = SplitMix64(seed: options.seed)
    let before = outcome(start)
    var best = (outcome: before, step: 0, router: start)
    var order: [Int] = []
    for step in 1...max(1, options.steps) where step <= options.steps {
      if order.count < min(options.batch, fitted.count) {
        order = fitted.shuffled(using: &generator)
      }
      let tokens = Array(order.suffix(options.batch))
      order.removeLast(tokens.count)
      let noise = options.weights.alignment == 0
        ? nil : Self.normal(tokens.count, start.latentSize, using: &generator)
      let gradient = objective.evaluate(
        learner.router, inputs: set.inputs.gathering(rows: tokens),
        logits: set.logits.gathering(rows: tokens), noise: noise)
      let progress = Float(step - 1) / Float(options.steps)
      learner.step(gradient, decay: 0.5 * (1 + cosf(.pi * progress)))
      guard step % Self.evaluateEvery == 0 || step == options.steps else { continue }
      let now = outcome(learner.router)
      if now < best.outcome { best = (now, step, learner.router) }
      if !now.isFinite || step - best.step >= Self.patience * Self.evaluateEvery { break }
    }
    return Result(router: best.router, step: best.step, before: before, after: best.outcome)
  }

  private func outcome(_ router: PrototypeRouter) -> Double {
    objective.outcome(router, inputs: heldOut.inputs, logits: heldOut.logits)
  }

  /// Standard normal values, by Box and Muller.
  private static func normal(
    _ rows: Int, _ columns: Int, using generator: inout SplitMix64
  ) -> Matrix {
    let values = (0..<rows * columns).map { _ in
      let radius = (-2 * log(Double.random(in: 1e-12..<1, using: &generator))).squareRoot()
      return Float(radius * cos(Double.random(in: 0..<2 * .pi, using: &generator)))
    }
    return Matrix(rows: rows, columns: columns, values: values)
  }
}
