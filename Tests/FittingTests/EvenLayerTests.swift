// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct EvenLayerTests {
  private static let stock = FitOptions.Stock(hasSelectionBias: false, gateType: .bf16)

  /// Experts that look for one input dimension each, none of which drifts from text to text.
  private static func even(_ rule: RoutingRule) -> SyntheticLayer {
    var layer = SyntheticLayer(rule: rule, tokens: 2048, hidden: 40, seed: 41)
    layer.router.gate = Matrix(rows: 16, columns: 40)
    for expert in 0..<16 { layer.router.gate[expert, 20 + expert] = 1 }
    return layer
  }

  @Test func `a layer that is as even as its tokens can tell is left alone`() throws {
    let layer = Self.even(SyntheticLayer.softmax)
    let metrics = layer.metrics(layer.router, on: layer.calibration)
    #expect(try #require(metrics.gini) > 0)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.stock, threads: 2))
    #expect(fit.isUnchanged && fit.clones.isEmpty)
    #expect(fit.stock?.gate == layer.router.gate)
    #expect(fit.prototype == PrototypeFit.unchanged(layer.router).router)
  }

  @Test func `a little less even than that, it is fitted`() throws {
    var layer = Self.even(SyntheticLayer.softmax)
    layer.router.gate[3, 23] = 1.3
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.stock, threads: 2))
    #expect(!fit.isUnchanged)
    let before = layer.metrics(layer.router, on: layer.calibration)
    let after = layer.metrics(fit.prototype, on: layer.calibration)
    #expect(try #require(after.gini) < 0.5 * #require(before.gini))
  }

  @Test(arguments: [40, 42] as [UInt64])
  func `four experts behind a sparse mixer are balanced`(seed: UInt64) throws {
    let rule = RoutingRule(experts: 4, topK: 2, scoring: .sparseMixer, normalise: false)
    let layer = SyntheticLayer(rule: rule, tokens: 1024, hidden: 16, seed: seed)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.stock, threads: 2))
    let stock = try linear(fit, layer)
    let loads = load(stock, layer)
    #expect(try #require(loads.min()) > 460 && #require(loads.max()) < 565)
    let agreement = layer.agreement(
      stock, map: fit.prototype.physicalToLogical, on: layer.calibration)
    #expect(agreement.overlap > 0.85)
  }

  @Test func `experts that nobody uses become clones that are used`() throws {
    var layer = SyntheticLayer(rule: SyntheticLayer.softmax, tokens: 1024, hidden: 16, seed: 43)
    for expert in 0..<5 { layer.router.gate[expert, 0] = -8 }
    #expect(load(layer.router, layer).prefix(5) == [0, 0, 0, 0, 0])
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(stock: Self.stock, threads: 2))
    #expect(Set(fit.clones).isSuperset(of: 0..<5))
    // Even would be 128.
    for loads in [load(fit.prototype, layer), load(try linear(fit, layer), layer)] {
      #expect(try #require(loads.min()) > 110 && #require(loads.max()) < 150)
    }
  }

  @Test func `256 experts in eight groups are balanced from few tokens`() throws {
    let rule = RoutingRule(
      experts: 256, topK: 8, scoring: .sigmoid, normalise: true, normaliseGuard: .add(1e-20),
      scale: 2.5, groups: .init(count: 8, kept: 4, score: .topTwoSum, mask: .negativeInfinity))
    let layer = SyntheticLayer(rule: rule, tokens: 1024, seed: 44)
    #expect(LoadMetrics(load: load(layer.router, layer)).deadExperts == 64)
    let fit = try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(
        clones: false, stock: .init(hasSelectionBias: true, gateType: .bf16), threads: 2))
    for router in [fit.prototype, try linear(fit, layer)] as [any Router] {
      let metrics = layer.metrics(router, on: layer.calibration)
      #expect(try #require(metrics.gini) < 0.02)
    }
  }

  private func linear(_ fit: LayerFit, _ layer: SyntheticLayer) throws -> FamilyRouter {
    let stock = try #require(fit.stock)
    return FamilyRouter(
      gate: stock.gate, selectionBias: stock.selectionBias, rule: layer.router.rule)
  }

  private func load(_ router: some Router, _ layer: SyntheticLayer) -> [Int] {
    router.route(layer.calibration, threads: 2).load(experts: router.experts)
  }
}
