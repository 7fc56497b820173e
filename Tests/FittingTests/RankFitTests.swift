// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct RankFitTests {
  private static let stock = FitOptions.Stock(hasSelectionBias: false, gateType: .f32)

  private func layer(skew: Float, rule: RoutingRule = SyntheticLayer.softmax) -> SyntheticLayer {
    SyntheticLayer(rule: rule, tokens: 8192, hidden: 32, skew: skew, seed: 21)
  }

  private func fit(
    _ layer: SyntheticLayer, _ ranks: RankBalance, clones: Bool = true,
    stock: FitOptions.Stock? = stock
  ) throws -> LayerFit {
    try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router,
      options: FitOptions(clones: clones, ranks: ranks, stock: stock, threads: 2))
  }

  private func imbalance(_ router: some Router, _ layer: SyntheticLayer, _ ranks: Int) -> Double {
    LoadMetrics.rankImbalance(
      load: router.route(layer.heldOut, threads: 2).load(experts: router.experts), ranks: ranks)
      ?? 9
  }

  @Test func `renumbering alone changes no token's experts`() throws {
    let layer = layer(skew: 0.6)
    let fit = try fit(layer, RankBalance(counts: [4], slack: 0.05))
    #expect(fit.stages.map(\.means) == [.asIs, .renumbering] && fit.clones.isEmpty)
    #expect(!fit.isUnchanged && fit.stages[0].imbalance > 1.1)
    let map = fit.prototype.physicalToLogical
    #expect(map.sorted() == Array(0..<16) && map != map.sorted())
    #expect(layer.agreement(fit.prototype).overlap == 1)
    #expect(try #require(fit.stock).gate == layer.router.gate.gathering(rows: map))
    #expect(imbalance(fit.prototype, layer, 4) < 1.06)
  }

  @Test func `where one expert is more than a rank's share it is cloned`() throws {
    let layer = layer(skew: 2)
    let fit = try fit(layer, RankBalance(counts: [4], slack: 0.05))
    let map = fit.prototype.physicalToLogical
    #expect(!fit.clones.isEmpty)
    let load = layer.router.route(layer.calibration, threads: 2).load(experts: 16)
    let busiest = try #require(load.indices.max { load[$0] < load[$1] })
    #expect(map.count { $0 == busiest } > 1)
    // No hot expert is given up for it.
    let pruned = Set(0..<16).subtracting(map)
    #expect(pruned.allSatisfy { load[$0] < load.reduce(0, +) / 16 })
    #expect(imbalance(layer.router, layer, 4) > 1.5)
    #expect(imbalance(fit.prototype, layer, 4) < 1.1)
    let last = try #require(fit.stages.last)
    #expect(last.imbalance < 1.05 && last.error != nil)
  }

  @Test func `without clones selection biases do what renumbering cannot`() throws {
    let layer = layer(skew: 2)
    let fit = try fit(layer, RankBalance(counts: [4], slack: 0.05), clones: false)
    #expect(fit.clones.isEmpty && Set(fit.prototype.physicalToLogical).count == 16)
    #expect(fit.prototype.selectionBias != [Float](repeating: 0, count: 16))
    #expect(imbalance(fit.prototype, layer, 4) < 1.06)
  }

  @Test func `where a rank holds two experts even experts may cost less`() throws {
    let layer = layer(skew: 2)
    let fit = try fit(layer, RankBalance(counts: [8], slack: 0.05))
    let means = fit.stages.map(\.means)
    #expect(means[..<2] == [.asIs, .renumbering] && means.count > 2)
    #expect(imbalance(layer.router, layer, 8) > 2)
    #expect(imbalance(fit.prototype, layer, 8) < 1.1)
  }

  @Test func `what is even already is left alone`() throws {
    let layer = layer(skew: 0)
    let fit = try fit(layer, RankBalance(counts: [2], slack: 1))
    #expect(fit.isUnchanged && fit.stages.map(\.means) == [.asIs])
    #expect(fit.prototype == PrototypeFit.unchanged(layer.router).router)
  }

  @Test(arguments: [true, false])
  func `expert groups are kept where the form needs them`(_ keeps: Bool) throws {
    let layer = layer(skew: 0.5, rule: SyntheticLayer.groups)
    let ranks = RankBalance(counts: [8], slack: 0.05, keepsGroups: keeps)
    let fit = try fit(layer, ranks, clones: false, stock: nil)
    let groups = (0..<4).map { group in
      Set(fit.prototype.physicalToLogical[group * 4..<group * 4 + 4].map { $0 / 4 })
    }
    #expect(groups.allSatisfy { $0.count == 1 } == keeps)
  }

  @Test func `the stock form is placed by what its own gate does`() throws {
    let layer = layer(skew: 2)
    let ranks = RankBalance(counts: [4], slack: 0.05, followsStock: true)
    let fit = try fit(layer, ranks)
    let stock = try #require(fit.stock)
    let router = FamilyRouter(gate: stock.gate, rule: SyntheticLayer.softmax)
    #expect(imbalance(router, layer, 4) < 1.12)
    // Rows of experts without clones are the original's.
    let copies = fit.prototype.physicalOfLogical
    for (place, logical) in fit.prototype.physicalToLogical.enumerated()
    where copies[logical].count == 1 {
      #expect(Array(stock.gate.row(place)) == Array(layer.router.gate.row(logical)))
    }
  }
}
