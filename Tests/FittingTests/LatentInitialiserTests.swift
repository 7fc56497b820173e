// SPDX-License-Identifier: Apache-2.0

import Fitting
import Foundation
import Routing
import Tensors
import TestSupport
import Testing

struct LatentInitialiserTests {
  typealias Kind = SimilarityKind

  static let pairs = EncoderKind.allCases.flatMap { encoder in
    Kind.allCases.map { (encoder, $0) }
  }

  @Test(arguments: pairs)
  func `every form starts near the original and refinement brings it nearer`(
    _ encoder: EncoderKind, _ kind: Kind
  ) throws {
    for rule in [SyntheticLayer.softmax, SyntheticLayer.groups] {
      let layer = SyntheticLayer(rule: rule, tokens: 2048, seed: 31)
      let router = try initialised(layer, encoder, kind, size: 10)
      #expect(router.encoder.kind == encoder && router.similarity.kind == kind)
      #expect(router.latentSize == 10)
      // Chance is topK / 16.
      let start = overlap(layer, router)
      #expect(start > 0.6, "\(rule.scoring)")

      let refined = refine(layer, router)
      #expect(refined.after <= refined.before, "\(rule.scoring)")
      // By sigmoids the start of a linear encoder is nearly the best of its rank.
      if rule.scoring == .softmax || encoder == .gaussian {
        #expect(refined.after < refined.before && refined.step > 0, "\(rule.scoring)")
      }
      // Some 5,000 choices, of which a tenth may change: two standard deviations.
      #expect(overlap(layer, refined.router) > start - 0.01, "\(rule.scoring)")
    }
  }

  /// The start of a linear router is the best of its rank in the logits: what refinement can do
  /// shows where it begins farther off.
  @Test(arguments: pairs) func `refinement brings a spoiled router most of the way back`(
    _ encoder: EncoderKind, _ kind: Kind
  ) throws {
    let rule = encoder == .linear ? SyntheticLayer.softmax : SyntheticLayer.groups
    let layer = SyntheticLayer(rule: rule, tokens: 2048, seed: 38)
    let start = try initialised(layer, encoder, kind, size: 10)
    var spoiled = start
    var generator = SeededGenerator(seed: 39)
    for part in Learned.all(in: start) where part != .logScale {
      var values = start[part]
      for index in values.values.indices {
        values.values[index] *= 1 + Float.random(in: -0.2...0.2, using: &generator)
      }
      spoiled[part] = values
    }
    let best = refine(layer, start).after
    let result = refine(layer, spoiled)
    let rest = (result.after - best) / (result.before - best)
    #expect(rest < 0.3 && result.before > best, "\(rest) of the distance is left")
  }

  @Test(arguments: Kind.allCases) func `a full latent space keeps nearly all of the choice`(
    _ kind: Kind
  ) throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 4096, seed: 32)
    let router = try initialised(layer, .linear, kind, size: 17)
    #expect(overlap(layer, router) > (kind == .dot ? 0.9999 : 0.9))
  }

  @Test func `the log-variance half starts at the residual variance`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 4096, seed: 33)
    let router = try initialised(layer, .gaussian, .dot, size: 4)
    let latent = router.encodeGaussian(layer.heldOut, threads: 1)
    let variance = try #require(latent.logVariance)
    let linear = try initialised(layer, .linear, .dot, size: 4)
    let target = linear.encode(layer.heldOut, threads: 1)
    for dimension in 0..<4 {
      var sum = 0.0
      for token in 0..<target.rows {
        let rest = Double(target[token, dimension] - latent.mean[token, dimension])
        sum += rest * rest
      }
      let measured = (sum / Double(target.rows)).squareRoot()
      let stated = exp(Double(variance[0, dimension])).squareRoot()
      #expect(abs(measured / stated - 1) < 0.25)
    }
  }

  @Test func `refinement is the same for any number of threads, and another for another seed`()
    throws
  {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 3000, seed: 34)
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 1)
    for kind in [Kind.cosine, .hellinger] {
      let start = try initialised(layer, .gaussian, kind, size: 6)
      func refined(threads: Int, seed: UInt64) -> PrototypeRouter {
        var options = RouterRefinement.Options()
        options.steps = 20
        options.batch = 300
        options.seed = seed
        options.threads = threads
        options.weights.diversity = 0.01
        options.weights.divergence = 1e-4
        options.weights.alignment = 1e-3
        options.weights.balance = 0.01
        return RouterRefinement(set, options: options).refine(start).router
      }
      let one = refined(threads: 1, seed: 1)
      #expect(one == refined(threads: 2, seed: 1) && one == refined(threads: 3, seed: 1))
      #expect(one != refined(threads: 2, seed: 2))
      #expect(start == (try initialised(layer, .gaussian, kind, size: 6, threads: 3)))
    }
  }

  @Test func `a start that is exact is returned as it is`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 2048, seed: 35)
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 1)
    let exact = PrototypeFit.unchanged(layer.router).router
    var options = RouterRefinement.Options()
    options.steps = 50
    let result = RouterRefinement(set, options: options).refine(exact)
    #expect(result.step == 0 && result.router == exact && result.before < 1e-9)
  }

  @Test func `the balance term lowers the spread of soft load`() throws {
    let layer = SyntheticLayer(
      rule: SyntheticLayer.softmax, tokens: 4096, skew: 1.2, seed: 36)
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 2)
    let start = try initialised(layer, .linear, .dot, size: 8)
    func gini(_ router: PrototypeRouter) throws -> Double {
      try #require(layer.heldOutMetrics(router).gini)
    }
    var options = RouterRefinement.Options()
    options.steps = 150
    options.batch = 256
    options.threads = 2
    let plain = RouterRefinement(set, options: options).refine(start)
    options.weights.balance = 0.02
    let balanced = RouterRefinement(set, options: options).refine(start)
    #expect(try gini(balanced.router) < gini(plain.router) - 0.01)
  }

  @Test func `equations without a solution are refused by name`() {
    #expect(throws: (any Error).self) {
      try LinearAlgebra.solveSymmetric([1, 2, 2, 1], size: 2, [1, 1])
    }
    #expect(throws: (any Error).self) {
      try LinearAlgebra.solveSymmetric([1, .nan, .nan, 1], size: 2, [1, 1])
    }
  }

  @Test func `least squares finds an exact map and its intercept`() throws {
    var generator = SeededGenerator(seed: 37)
    let inputs = SyntheticLayer.normal(500, 6, &generator)
    let weight = SyntheticLayer.normal(2, 6, &generator)
    var targets = LinearAlgebra.multiply(inputs, transposed: weight)
    targets.add(toEachRow: [3, -1])
    let fit = try RidgeRegression(inputs: inputs, targets: targets, threads: 2)
    #expect(zip(fit.weight.values, weight.values).allSatisfy { abs($0 - $1) < 1e-3 })
    #expect(abs(fit.bias[0] - 3) < 1e-3 && abs(fit.bias[1] + 1) < 1e-3)
    #expect(fit.residual.allSatisfy { $0 < 1e-6 })
  }

  private func initialised(
    _ layer: SyntheticLayer, _ encoder: EncoderKind, _ kind: Kind, size: Int, threads: Int = 2
  ) throws -> PrototypeRouter {
    try layer.start(.init(encoder: encoder, similarity: kind), size: size, threads: threads)
  }

  private func refine(
    _ layer: SyntheticLayer, _ router: PrototypeRouter
  ) -> RouterRefinement.Result {
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 2)
    var options = RouterRefinement.Options()
    options.steps = 120
    options.batch = 256
    options.threads = 2
    return RouterRefinement(set, options: options).refine(router)
  }

  /// With the original's choice on held-out tokens.
  private func overlap(_ layer: SyntheticLayer, _ router: PrototypeRouter) -> Double {
    let identity = Array(0..<router.experts)
    return RoutingAgreement(
      original: layer.router.route(layer.heldOut, threads: 2), originalMap: identity,
      patched: router.route(layer.heldOut, threads: 2), patchedMap: identity
    ).overlap
  }
}
