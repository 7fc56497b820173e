// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct ConcentrationFitTests {
  private func fit(
    _ layer: SyntheticLayer, _ strength: Double, stock: FitOptions.Stock? = nil
  ) throws -> LayerFit {
    try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(strength: strength, stock: stock, threads: 2))
  }

  private func distinct(_ router: some Router, _ layer: SyntheticLayer) throws -> Double {
    try #require(
      router.route(layer.heldOut, threads: 2).batchDistinctExperts(
        experts: router.experts, batch: 64))
  }

  @Test(arguments: PrototypeFitTests.rules)
  func `below strength 0 batches use fewer experts the farther it goes`(
    _ rule: RoutingRule
  ) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 4096, skew: 1, seed: 31)
    let original = try distinct(layer.router, layer)
    var last = original
    let gini = try #require(layer.heldOutMetrics(layer.router).gini)
    for strength in [-0.3, -0.9] {
      let fit = try fit(layer, strength)
      #expect(fit.clones.isEmpty && !fit.isUnchanged)
      #expect(fit.prototype.physicalToLogical == Array(0..<16))
      let found = try distinct(fit.prototype, layer)
      #expect(found < last - 0.1, "\(strength): \(found) after \(last)")
      #expect(try #require(layer.heldOutMetrics(fit.prototype).gini) > gini)
      last = found
    }
    #expect(last < 0.85 * original)
  }

  @Test(arguments: [(SyntheticLayer.softmax, false), (SyntheticLayer.groups, true)])
  func `the stock form concentrates too`(_ rule: RoutingRule, _ biased: Bool) throws {
    let layer = SyntheticLayer(rule: rule, tokens: 4096, skew: 1, seed: 31)
    let fit = try fit(
      layer, -0.7, stock: .init(hasSelectionBias: biased, gateType: .f32))
    let router = try #require(fit.stock).router(layer.router)
    #expect(!router.gate.values.contains { !$0.isFinite })
    let (before, after) = (try distinct(layer.router, layer), try distinct(router, layer))
    #expect(after < 0.95 * before)
    #expect(layer.agreement(router).overlap > 0.6)
  }

  @Test func `distinct experts are counted in full batches`() {
    let assignment = Assignment(
      tokens: 5, topK: 2, experts: [0, 1, 1, 0, 2, 3, 3, 1, 0, 3],
      weights: [Float](repeating: 0.5, count: 10))
    #expect(assignment.batchDistinctExperts(experts: 4, batch: 2) == 2.5)
    #expect(assignment.batchDistinctExperts(experts: 4, batch: 8) == nil)
  }
}
