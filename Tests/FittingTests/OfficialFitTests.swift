// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct OfficialFitTests {
  /// A gate's routing of a layer's inputs.
  private static func set(_ layer: SyntheticLayer) -> CalibrationSet {
    CalibrationSet(inputs: layer.calibration, router: layer.router, threads: 2)
  }

  @Test func `with the full latent size it follows a linear gate, biases of experts included`()
    throws
  {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 2048, seed: 31)
    let router = try OfficialFit(
      Self.set(layer), latent: .automatic, options: FitOptions(threads: 2)
    ).train(steps: 0)
    #expect(router.latentSize == 17)
    #expect(router.form == .init(encoder: .gaussian, similarity: .crossAttention))
    // Nothing that the official code has no tensor for.
    #expect(router.logitBias == nil && router.similarityScale == 1)
    #expect(router.selectionBias.allSatisfy { $0 == 0 })
    #expect(router.physicalToLogical == Array(0..<16))
    // 2/16 by chance.
    #expect(layer.agreement(router).overlap > 0.85)
  }

  @Test func `gradient steps bring a small router nearer, and the size is as asked`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 2048, seed: 32)
    let fit = try OfficialFit(
      Self.set(layer), latent: .size(6), options: FitOptions(threads: 2))
    let start = try fit.train(steps: 0)
    let trained = try fit.train(steps: 200)
    #expect(start.latentSize == 6 && trained.latentSize == 6)
    #expect(trained.logitBias == nil)
    #expect(layer.agreement(trained).overlap > layer.agreement(start).overlap + 0.02)
  }

  @Test func `the official form keeps most of the balance of the gate that it follows`() throws {
    let layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 2048, seed: 33)
    var options = FitOptions(
      stock: .init(hasSelectionBias: false, gateType: .f32), threads: 2)
    options.official = .init(latent: .automatic, refinementSteps: 100)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router, options: options)
    let (official, stock) = (try #require(fit.official), try #require(fit.stock))
    let gate = FamilyRouter(gate: stock.gate, rule: SyntheticLayer.softmax)
    let before = try #require(layer.heldOutMetrics(layer.router).gini)
    let stockGini = try #require(layer.heldOutMetrics(gate).gini)
    let gini = try #require(layer.heldOutMetrics(official).gini)
    #expect(gini < stockGini + 0.15 * before, "\(before) to \(gini), stock \(stockGini)")
    let identity = Array(0..<16)
    let fidelity = RoutingAgreement(
      original: gate.route(layer.heldOut, threads: 2), originalMap: identity,
      patched: official.route(layer.heldOut, threads: 2), patchedMap: identity)
    #expect(fidelity.overlap > 0.5 && fidelity.overlap < 1)
    #expect(fidelity.divergence > 0)
  }
}
