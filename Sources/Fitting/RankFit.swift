// SPDX-License-Identifier: Apache-2.0
//
// Fits a layer for even ranks: the original router, exactly, but for what RankSearch.swift found to
// be needed. Where a rank holds one or two experts that can be more than even experts cost; then
// these are fitted, and renumbered.

import ByteStorage
package import Routing
import Tensors

extension PrototypeFit {
  /// Fits to all tokens of `set`.
  static func fit(
    _ set: CalibrationSet, outputs: OutputSketch?, ranks: RankBalance, options: FitOptions
  ) throws(RegateError) -> PrototypeFit {
    var clock = PhaseClock()
    var router = unchanged(set.router).router
    let sketch =
      outputs
      ?? OutputSketch(
        orthogonal: set.sampledTokens(OutputSketch.sampleTokens), experts: router.experts)
    let search = RankSearch(set, router: router, sketch: sketch, ranks: ranks, options: options)
    let plan = search.plan()
    clock.lap("rank plan")
    let cost = plan.stages.last?.error
    if cost != nil || !plan.isEven {
      let even = try fit(set, outputs: outputs, options: options)
      clock.add(even.phases)
      let sample = set.gathering(sketch.tokens)
      let error = search.deviation.error(
        of: even.router.logicals(of: sample.inputs, threads: options.threads))
      if !plan.isEven || error <= cost ?? 0 {
        return even.placed(set, ranks: ranks, stages: plan.stages, error: error, options)
      }
    }
    router.physicalToLogical = plan.physicalToLogical
    router.selectionBias = plan.selectionBias
    let latent = router.latent(set.inputs, threads: options.threads)
    try split(
      &router, latent: latent.mean,
      scores: router.scores(latent, threads: options.threads), threads: options.threads)
    clock.lap("split of clones")
    return PrototypeFit(
      router: router, explainedVariance: 1, clones: router.copies, stages: plan.stages,
      phases: clock)
  }

  /// The same with physical expert `order[j]` in place j.
  func placed(_ order: [Int]) -> PrototypeFit {
    let placed = router.placed(order)
    return PrototypeFit(
      router: placed, explainedVariance: explainedVariance, clones: placed.copies, stages: stages,
      phases: phases, cost: cost)
  }

  /// The same with its experts where ranks are even.
  private func placed(
    _ set: CalibrationSet, ranks: RankBalance, stages: [RankStage], error: Double,
    _ options: FitOptions
  ) -> PrototypeFit {
    let (order, imbalance) = ranks.placement(
      router.route(set.inputs, threads: options.threads), rule: router.rule)
    let placed = router.placed(order)
    return PrototypeFit(
      router: placed, explainedVariance: explainedVariance, clones: placed.copies,
      stages: stages + [
        .init(means: .evenExperts, imbalance: imbalance, error: error)
      ], phases: phases, cost: cost)
  }
}

extension RankBalance {
  /// Where to put the physical experts of a routing of consecutive tokens, and max/mean over ranks
  /// then.
  func placement(_ routed: Assignment, rule: RoutingRule) -> (order: [Int], imbalance: Double) {
    let steady = SteadyPlacement(
      runs: routed.runLoads(experts: rule.experts), groups: groups(rule), ranks: counts)
    let order = steady.order(load: routed.load(experts: rule.experts))
    return (order, steady.imbalance(order))
  }
}

extension LayerFit.Stock {
  /// The router that a runtime makes of it, for the layer of `original`.
  package func router(_ original: FamilyRouter) -> FamilyRouter {
    FamilyRouter(
      gate: gate, logitBias: logitBias, selectionBias: selectionBias,
      rule: original.rule.keeping(gate.rows))
  }

  /// The same with physical expert `order[j]` in place j.
  func placed(_ order: [Int]) -> LayerFit.Stock {
    func placed(_ bias: [Float]?) -> [Float]? { bias.map { bias in order.map { bias[$0] } } }
    return .init(
      gate: gate.gathering(rows: order), logitBias: placed(logitBias),
      selectionBias: placed(selectionBias))
  }
}

extension PrototypeRouter {
  /// The router with physical expert `order[j]` in place j; those that `order` leaves out are
  /// pruned.
  func placed(_ order: [Int]) -> PrototypeRouter {
    var placed = self
    placed.physicalToLogical = order.map { physicalToLogical[$0] }
    placed.clonePrototypes = clonePrototypes.gathering(rows: order)
    placed.cloneBias = order.map { cloneBias[$0] }
    return placed
  }

  /// The physical experts that hold a logical one which another holds already, ascending.
  var copies: [Int] {
    var seen = Set<Int>()
    return physicalToLogical.indices.filter { !seen.insert(physicalToLogical[$0]).inserted }
  }

  /// Where it sends tokens, by logical expert.
  fileprivate func logicals(of inputs: Matrix, threads: Int) -> Assignment {
    let routed = route(inputs, threads: threads)
    return Assignment(
      tokens: routed.tokens, topK: routed.topK,
      experts: routed.experts.map { Int32(physicalToLogical[Int($0)]) }, weights: routed.weights)
  }
}
