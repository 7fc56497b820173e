// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct PrototypeFitTests {
  static let rules = [SyntheticLayer.softmax, SyntheticLayer.groups]

  @Test(arguments: rules) func `full strength balances calibration and held-out tokens`(
    _ rule: RoutingRule
  ) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 8192, seed: 3)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router, options: FitOptions(threads: 2))
    #expect(try #require(layer.metrics(layer.router, on: layer.calibration).gini) > 0.25)
    #expect(try #require(layer.metrics(fit.prototype, on: layer.calibration).gini) < 0.01)
    #expect(try #require(layer.heldOutMetrics(fit.prototype).gini) < 0.06)
    #expect(!fit.clones.isEmpty && !fit.isUnchanged)
    #expect(fit.clones.allSatisfy { fit.prototype.physicalToLogical[$0] != $0 })
    #expect(layer.agreement(fit.prototype, on: layer.calibration).duplicateRate == 0)
  }

  @Test(arguments: rules) func `clones keep more of the original choice than routing alone`(
    _ rule: RoutingRule
  ) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 8192, skew: 1.2, seed: 4)
    func fit(clones: Bool) throws -> LayerFit {
      try LayerFitter.fit(
        inputs: layer.calibration, original: layer.router,
        options: FitOptions(clones: clones, threads: 2))
    }
    let (cloned, routed) = (try fit(clones: true), try fit(clones: false))
    #expect(
      layer.agreement(cloned.prototype).divergence < layer.agreement(routed.prototype).divergence)
    #expect(routed.clones.isEmpty)
    #expect(routed.prototype.physicalToLogical == Array(0..<rule.experts))
  }

  @Test(arguments: rules) func `Gini falls with strength`(_ rule: RoutingRule) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 8192, seed: 5)
    var last = try #require(layer.heldOutMetrics(layer.router).gini)
    for strength in [0.0, 0.25, 0.5, 0.75, 1] {
      let fit = try LayerFitter.fit(
        inputs: layer.calibration, original: layer.router,
        options: FitOptions(strength: strength, threads: 2))
      let gini = try #require(layer.heldOutMetrics(fit.prototype).gini)
      #expect(gini <= last + 1e-9, "strength \(strength)")
      last = gini
    }
  }

  @Test(arguments: rules) func `strength 0 is the original, exactly`(_ rule: RoutingRule) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 2048, seed: 6)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router, options: FitOptions(strength: 0))
    #expect(fit.isUnchanged && fit.clones.isEmpty)
    #expect(fit.prototype.physicalToLogical == Array(0..<rule.experts))
    let zeros = [Float](repeating: 0, count: rule.experts)
    #expect(fit.prototype.selectionBias == layer.router.selectionBias ?? zeros)
    let original = layer.router.route(layer.heldOut, threads: 1)
    #expect(fit.prototype.route(layer.heldOut, threads: 1) == original)
  }

  @Test func `the fit does not depend on the number of threads`() throws {
    for rule in Self.rules {
      let layer = SyntheticLayer(rule: rule, tokens: 6000, seed: 7)
      let fits = try [1, 2, 3].map { threads in
        try LayerFitter.fit(
          inputs: layer.calibration, original: layer.router, options: FitOptions(threads: threads))
      }
      #expect(fits[0].prototype == fits[1].prototype && fits[0].prototype == fits[2].prototype)
      #expect(fits[0].clones == fits[1].clones && fits[0].clones == fits[2].clones)
    }
  }

  @Test func `a full latent space keeps the routing and a small one keeps less`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 4096, seed: 8)
    let set = CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 2)
    func fit(_ latent: FitOptions.Latent) throws -> PrototypeFit {
      // Splitting without balancing: choices are those of the latent router.
      try PrototypeFit.fit(
        set, outputs: nil,
        options: FitOptions(clones: false, strength: 1e-9, latent: latent, threads: 2))
    }
    let full = try fit(.size(16))
    let small = try fit(.size(4))
    let automatic = try fit(.automatic)
    func overlap(_ fit: PrototypeFit) -> Double {
      layer.agreement(fit.router, on: layer.calibration).overlap
    }
    #expect(overlap(full) > 0.999)
    #expect(overlap(small) < 0.95)
    #expect(overlap(automatic) > 0.99)
    #expect(small.explainedVariance < automatic.explainedVariance)
    #expect(automatic.explainedVariance <= 1 + 1e-9)
    #expect(automatic.router.latentSize <= 16 && small.router.latentSize == 4)
  }

  @Test func `a handful of tokens is enough`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 20, seed: 9)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router, options: FitOptions())
    let load = fit.prototype.route(layer.calibration, threads: 1).load(experts: 16)
    #expect(load.reduce(0, +) == 40)
    #expect(load.allSatisfy { $0 <= 5 }, "2.5 each, and few tokens to choose from")
  }

  @Test func `inputs that are not finite, or none, are refused`() {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 40, seed: 11)
    var broken = layer.calibration
    broken[7, 3] = .nan
    for inputs in [broken, Matrix(rows: 0, columns: broken.columns)] {
      #expect(throws: (any Error).self) {
        try LayerFitter.fit(inputs: inputs, original: layer.router, options: FitOptions())
      }
    }
  }
}
