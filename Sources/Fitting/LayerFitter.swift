// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
package import Routing
package import Tensors

/// Fits one layer's router to calibration inputs, to all of them: whoever wants to judge the result
/// keeps tokens of his own.
package enum LayerFitter {
  /// Fits `original`'s replacement to `inputs` [T,H].
  ///
  /// `outputs` are the experts' outputs on a sample of the inputs; without them the clone plan
  /// takes all outputs for orthogonal and of one norm.
  package static func fit(
    inputs: Matrix, original: FamilyRouter, outputs: OutputSketch? = nil, options: FitOptions
  ) throws(RegateError) -> LayerFit {
    precondition((outputs?.norms.count ?? original.experts) == original.experts)
    try requireUsable(inputs)
    var clock = PhaseClock()
    let set = CalibrationSet(inputs: inputs, router: original, threads: options.threads)
    clock.lap("original routing")
    if let count = options.pruned {
      return pruned(set, outputs, count: count, &clock, threads: options.threads)
    }
    var (fit, stock) = try routers(set, outputs, options, &clock)
    let isUnchanged = fit.leaves(original)
    if !isUnchanged, let ranks = options.ranks, ranks.followsStock, let found = stock {
      // A linear gate does not give clones the shares that the plan gave them.
      let order = ranks.placement(
        found.router(set.router).route(set.inputs, threads: options.threads),
        rule: set.router.rule
      ).order
      stock = found.placed(order)
      fit = fit.placed(order)
    }
    clock.lap("stock form")
    let official = options.strength == 0 ? nil : try official(set, stock: stock, options)
    clock.lap("official form")
    return LayerFit(
      prototype: fit.router, stock: stock, official: official, isUnchanged: isUnchanged,
      explainedVariance: fit.explainedVariance, clones: fit.clones, stages: fit.stages,
      phases: clock)
  }

  /// The new routers, which are the original's where a layer has no balance to gain.
  private static func routers(
    _ set: CalibrationSet, _ outputs: OutputSketch?, _ options: FitOptions,
    _ clock: inout PhaseClock
  ) throws(RegateError) -> (PrototypeFit, LayerFit.Stock?) {
    let stays = options.strength == 0 || options.leavesEvenLayers && set.isAsEvenAsChance
    let fit =
      stays ? PrototypeFit.unchanged(set.router) : try PrototypeFit.fit(set, outputs, options)
    clock.add(fit.phases)
    return (fit, try stock(set, fit, outputs?.norms, options))
  }

  /// The original router without the rows of the experts that cost least.
  private static func pruned(
    _ set: CalibrationSet, _ outputs: OutputSketch?, count: Int, _ clock: inout PhaseClock,
    threads: Int
  ) -> LayerFit {
    let sketch =
      outputs
      ?? OutputSketch(
        orthogonal: set.sampledTokens(OutputSketch.sampleTokens), experts: set.router.experts)
    let kept = PruneSearch(set, sketch: sketch, threads: threads).kept(pruning: count)
    let router = set.router.keeping(kept)
    clock.lap("prune search")
    return LayerFit(
      prototype: PrototypeFit.unchanged(set.router).router.placed(kept),
      stock: .init(router), official: nil,
      isUnchanged: false, explainedVariance: 1, clones: [], stages: [], phases: clock)
  }

  private static func requireUsable(_ inputs: Matrix) throws(RegateError) {
    guard inputs.rows > 0 else {
      throw RegateError(
        .malformed, subject: "router inputs", "no token, expected at least one",
        advice: "check the calibration set")
    }
    if let place = inputs.values.firstIndex(where: { !$0.isFinite }) {
      throw RegateError(
        .malformed, subject: "router inputs",
        "token \(place / inputs.columns) holds \(inputs.values[place]), expected finite numbers",
        advice: "capture again in F32 or BF16")
    }
  }

  private static func stock(
    _ set: CalibrationSet, _ fit: PrototypeFit, _ norms: [Double]?, _ options: FitOptions
  ) throws(RegateError) -> LayerFit.Stock? {
    guard let form = options.stock else { return nil }
    guard !fit.leaves(set.router) else {
      return LayerFit.Stock(set.router)
    }
    var result = try StockFit(
      set, prototype: fit.router, cost: fit.cost, norms: norms, stock: form, options: options
    ).train()
    guard form.roundsBiasToBF16, let bias = result.selectionBias else { return result }
    let router = result.router(set.router)
    let scores = router.rule.scores(
      router.logits(set.inputs, threads: options.threads), threads: options.threads)
    let rounded = RoundedBias(rule: router.rule, scores: scores, threads: options.threads)
    result.selectionBias = rounded.solve(bias)
    return result
  }

  /// The official form, which follows the stock form.
  private static func official(
    _ set: CalibrationSet, stock: LayerFit.Stock?, _ options: FitOptions
  ) throws(RegateError) -> PrototypeRouter? {
    guard let form = options.official, let stock else { return nil }
    var gate = set.router
    gate.gate = stock.gate
    gate.logitBias = stock.logitBias
    return try OfficialFit(
      CalibrationSet(inputs: set.inputs, router: gate, threads: options.threads),
      latent: form.latent, options: options
    ).train(steps: form.refinementSteps)
  }
}

extension LayerFit.Stock {
  /// `router` as it is.
  fileprivate init(_ router: FamilyRouter) {
    self.init(
      gate: router.gate, logitBias: router.logitBias, selectionBias: router.selectionBias)
  }
}
