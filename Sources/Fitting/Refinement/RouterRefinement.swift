// SPDX-License-Identifier: Apache-2.0
//
// Gradient steps (Adam, minibatches, cosine decay) on encoder, prototypes, the similarity's own
// parameters, scale and logit biases, against RoutingObjective.
//
// 1. Never worse: part of the tokens is kept from the steps and decides when to stop; the router
//    with the best outcome there (distance plus balance term) is returned, which is the one that
//    came in where no step helped.
// 2. Deterministic: one seeded generator, batches and sums in fixed order.
// 3. Rates without tuning: steps are measured in what they do to the logits (Learner), and
//    backtracking halves them: whenever the outcome got worse, the steps since the last look are
//    taken back.
//
// Selection biases and clones' prototypes stay: they are solved again afterwards.

import Foundation
package import Routing
import Tensors

/// Gradient steps on one router.
package struct RouterRefinement: Sendable {
  package struct Options: Sendable, Hashable {
    package var weights = LossWeights()
    package var steps = 400
    package var batch = 512
    /// What the first step of each part alone does to the logits, relative to their spread.
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
    /// The objective's outcome on the tokens that decide, before and after.
    package let before: Double
    package let after: Double
  }

  private static let evaluateEvery = 20
  /// Looks in a row that found nothing better before stopping: steps are then 1/64 of the first.
  private static let patience = 6
  private static let decidingTokens = 4096
  private static let probeTokens = 1024

  package let set: CalibrationSet
  package let options: Options
  private let stepped: [Int]
  private let deciding: CalibrationSet
  private let objective: RoutingObjective

  package init(_ set: CalibrationSet, options: Options) {
    precondition(options.steps >= 0 && options.batch > 0 && options.rate > 0)
    self.set = set
    self.options = options
    let parts = Self.split(set.tokens)
    stepped = parts?.stepped ?? Array(0..<set.tokens)
    // Too few tokens to keep any apart: all of them decide.
    deciding = (parts.map { set.gathering($0.deciding) } ?? set).sample(Self.decidingTokens)
    objective = RoutingObjective(weights: options.weights, threads: options.threads)
  }

  /// Every eighth run of tokens decides, apart from the others; nil below eight runs of useful
  /// length. (All of them are fitted tokens: this has nothing to do with those that judge a fit.)
  private static func split(_ tokens: Int) -> (stepped: [Int], deciding: [Int])? {
    let every = 8
    let run = min(1024, tokens / (2 * every))
    guard run >= 16 else { return nil }
    let decides = { (token: Int) in token / run % every == every - 1 }
    return ((0..<tokens).filter { !decides($0) }, (0..<tokens).filter(decides))
  }

  package func refine(_ start: PrototypeRouter) -> Result {
    var generator = SplitMix64(seed: options.seed)
    var batches = Batches(tokens: stepped, size: options.batch)
    var learner = learner(start)
    let before = outcome(start)
    var best = (outcome: before, step: 0, router: start)
    var scale: Float = 1
    var misses = 0
    for step in 1...max(1, options.steps) where step <= options.steps {
      let gradient = gradient(learner.router, batches.next(using: &generator), &generator)
      let progress = Float(step - 1) / Float(options.steps)
      learner.step(gradient, decay: scale * 0.5 * (1 + cosf(.pi * progress)))
      guard step % Self.evaluateEvery == 0 || step == options.steps else { continue }
      let now = outcome(learner.router)
      if now < best.outcome {
        best = (now, step, learner.router)
        misses = 0
      } else {
        learner.router = best.router
        scale *= 0.5
        misses += 1
        if misses == Self.patience { break }
      }
    }
    return Result(router: best.router, step: best.step, before: before, after: best.outcome)
  }

  private func outcome(_ router: PrototypeRouter) -> Double {
    objective.outcome(router, inputs: deciding.inputs, logits: deciding.logits)
  }

  private func learner(_ start: PrototypeRouter) -> Learner {
    let sample = deciding.sample(Self.probeTokens)
    return Learner(
      start, inputs: sample.inputs,
      gradient: objective.evaluate(start, inputs: sample.inputs, logits: sample.logits),
      rate: options.rate)
  }

  private func gradient(
    _ router: PrototypeRouter, _ tokens: [Int], _ generator: inout SplitMix64
  ) -> RouterGradient {
    let noise =
      options.weights.alignment == 0
      ? nil : Self.normal(tokens.count, router.latentSize, using: &generator)
    return objective.evaluate(
      router, inputs: set.inputs.gathering(rows: tokens),
      logits: set.logits.gathering(rows: tokens), noise: noise)
  }

  /// Tokens in batches, each once before any comes again.
  private struct Batches {
    let tokens: [Int]
    let size: Int
    var order: [Int] = []

    init(tokens: [Int], size: Int) {
      self.tokens = tokens
      self.size = min(size, tokens.count)
    }

    mutating func next(using generator: inout SplitMix64) -> [Int] {
      if order.count < size { order = tokens.shuffled(using: &generator) }
      defer { order.removeLast(size) }
      return Array(order.suffix(size))
    }
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
