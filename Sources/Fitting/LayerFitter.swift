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
    var fit = try prototype(set, outputs, options)
    clock.add(fit.phases)
    let isUnchanged = options.strength == 0 || leavesAlone(fit, original)
    var stock = try stock(set, fit, outputs?.norms, isUnchanged, options)
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
    let official = isUnchanged ? nil : try official(set, stock: stock, options)
    clock.lap("official form")
    return LayerFit(
      prototype: fit.router, stock: stock, official: official, isUnchanged: isUnchanged,
      explainedVariance: fit.explainedVariance, clones: fit.clones, stages: fit.stages,
      phases: clock)
  }

  private static func prototype(
    _ set: CalibrationSet, _ outputs: OutputSketch?, _ options: FitOptions
  ) throws(RegateError) -> PrototypeFit {
    if let ranks = options.ranks {
      return try PrototypeFit.fit(set, outputs: outputs, ranks: ranks, options: options)
    }
    guard options.strength > 0 else { return PrototypeFit.unchanged(set.router) }
    return try PrototypeFit.fit(set, outputs: outputs, options: options)
  }

  /// Whether a fit for even ranks found nothing to do.
  private static func leavesAlone(_ fit: PrototypeFit, _ original: FamilyRouter) -> Bool {
    !fit.stages.isEmpty && fit.router == PrototypeFit.unchanged(original).router
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
    _ set: CalibrationSet, _ fit: PrototypeFit, _ norms: [Double]?, _ isUnchanged: Bool,
    _ options: FitOptions
  ) throws(RegateError) -> LayerFit.Stock? {
    guard let form = options.stock else { return nil }
    guard !isUnchanged else {
      return LayerFit.Stock(gate: set.router.gate, selectionBias: set.router.selectionBias)
    }
    let result = try StockFit(
      set, prototype: fit.router, cost: fit.cost, norms: norms, stock: form, options: options
    ).train()
    guard form.roundsBiasToBF16, let bias = result.selectionBias else {
      return LayerFit.Stock(gate: result.gate, selectionBias: result.selectionBias)
    }
    var router = set.router
    router.gate = result.gate
    let scores = router.rule.scores(
      router.logits(set.inputs, threads: options.threads), threads: options.threads)
    let rounded = RoundedBias(rule: router.rule, scores: scores, threads: options.threads)
    return LayerFit.Stock(gate: result.gate, selectionBias: rounded.solve(bias))
  }

  /// The official form, which follows the stock form.
  private static func official(
    _ set: CalibrationSet, stock: LayerFit.Stock?, _ options: FitOptions
  ) throws(RegateError) -> PrototypeRouter? {
    guard let form = options.official, let stock else { return nil }
    var gate = set.router
    gate.gate = stock.gate
    return try OfficialFit(
      CalibrationSet(inputs: set.inputs, router: gate, threads: options.threads),
      latent: form.latent, options: options
    ).train(steps: form.refinementSteps)
  }
}
