// SPDX-License-Identifier: Apache-2.0

public import ByteStorage
public import Routing
public import Tensors

/// Fits one layer's router to calibration inputs.
public enum LayerFitter {
  /// Fits `original`'s replacement to `inputs` [T,H].
  ///
  /// `outputs` are the experts' outputs on a sample of the inputs; without them the clone plan
  /// takes all outputs for orthogonal and of one norm. Figures on held-out tokens come from a fit
  /// that did not see them; the returned router is then fitted to all tokens.
  public static func fit(
    inputs: Matrix, original: FamilyRouter, outputs: OutputSketch? = nil, options: FitOptions
  ) throws(RegateError) -> LayerFit {
    precondition((outputs?.norms.count ?? original.experts) == original.experts)
    if let place = inputs.values.firstIndex(where: { !$0.isFinite }) {
      throw RegateError(
        .malformed, subject: "router inputs",
        "token \(place / inputs.columns) holds \(inputs.values[place]), expected finite numbers",
        advice: "capture again in F32 or BF16")
    }
    guard inputs.rows > 0 else {
      throw RegateError(
        .malformed, subject: "router inputs", "no token, expected at least one",
        advice: "check the calibration set")
    }
    var clock = PhaseClock()
    let set = CalibrationSet(inputs: inputs, router: original, threads: options.threads)
    clock.lap("original routing")
    let whole = try fit(set, outputs, options)
    clock.add(whole.phases)
    let evidence = LayerFit.Evidence(
      calibration: figures(whole.router, set, options),
      heldOut: try heldOutFigures(set, outputs, options))
    clock.lap("held-out evidence")
    let map = whole.router.physicalToLogical
    let stock = try stock(set, prototype: whole.router, outputs?.norms, options)
    clock.lap("stock form")
    let official = try official(set, prototype: whole.router, stock: stock, options)
    clock.lap("official form")
    return LayerFit(
      physicalToLogical: map, prototype: whole.router, stock: stock,
      official: official, isUnchanged: isUnchanged(options),
      original: LayerFit.Evidence(
        calibration: set.originalFigures,
        heldOut: set.split().map { set.gathering($0.heldOut).originalFigures }),
      evidence: evidence, latentSize: whole.router.latentSize, explainedVariance: whole.explainedVariance,
      pruned: whole.pruned,
      feasibleGini: ClonePlan.feasibleGini(physicalToLogical: map, topK: original.rule.topK),
      phases: clock)
  }

  /// The stock form: trained without the held-out tokens.
  private static func stock(
    _ set: CalibrationSet, prototype: PrototypeRouter, _ norms: [Double]?, _ options: FitOptions
  ) throws(RegateError) -> LayerFit.Stock? {
    guard let form = options.stock else { return nil }
    let parts = set.split()
    let fitted = parts.map { set.gathering($0.fitted) } ?? set
    if isUnchanged(options) {
      let figures = set.figures(of: set.assignment, physicalToLogical: prototype.physicalToLogical)
      return LayerFit.Stock(
        gate: set.router.gate, selectionBias: set.router.selectionBias,
        evidence: LayerFit.Evidence(calibration: figures, heldOut: nil))
    }
    let result = try StockFit(
      fitted, prototype: prototype, norms: norms, stock: form, options: options
    ).train()
    var router = set.router
    router.gate = result.gate
    router.selectionBias = result.selectionBias.map { bias in
      guard form.roundsBiasToBF16 else { return bias }
      let scores = router.rule.scores(
        router.logits(fitted.inputs, threads: options.threads), threads: options.threads)
      return RoundedBias(rule: router.rule, scores: scores, threads: options.threads).solve(bias)
    }
    func figures(_ set: CalibrationSet) -> LayerFit.Figures {
      set.figures(
        of: router.route(set.inputs, threads: options.threads), physicalToLogical: prototype.physicalToLogical)
    }
    return LayerFit.Stock(
      gate: router.gate, selectionBias: router.selectionBias,
      evidence: LayerFit.Evidence(
        calibration: figures(fitted), heldOut: parts.map { figures(set.gathering($0.heldOut)) }))
  }

  /// The official form: like the stock form that it follows, trained without the held-out tokens.
  private static func official(
    _ set: CalibrationSet, prototype: PrototypeRouter, stock: LayerFit.Stock?, _ options: FitOptions
  ) throws(RegateError) -> LayerFit.Official? {
    guard let form = options.official, let stock, !isUnchanged(options) else { return nil }
    var gate = set.router
    gate.gate = stock.gate
    let parts = set.split()
    let fitted = parts.map { set.gathering($0.fitted) } ?? set
    let heldOut = parts.map { set.gathering($0.heldOut) }
    let router = try OfficialFit(
      CalibrationSet(inputs: fitted.inputs, router: gate, threads: options.threads),
      latent: form.latent, options: options
    ).train(steps: form.refinementSteps)
    func routed(_ set: CalibrationSet) -> Assignment {
      router.route(set.inputs, threads: options.threads)
    }
    func figures(_ set: CalibrationSet) -> LayerFit.Figures {
      set.figures(of: routed(set), physicalToLogical: prototype.physicalToLogical)
    }
    let judged = heldOut ?? fitted
    return LayerFit.Official(
      router: router,
      evidence: LayerFit.Evidence(
        calibration: figures(fitted), heldOut: heldOut.map(figures)),
      fidelity: RoutingAgreement(
        original: prototype.route(judged.inputs, threads: options.threads),
        originalMap: prototype.physicalToLogical, patched: routed(judged),
        patchedMap: prototype.physicalToLogical))
  }

  private static func isUnchanged(_ options: FitOptions) -> Bool {
    options.strength == 0 || options.levers.isEmpty
  }

  private static func fit(
    _ set: CalibrationSet, _ outputs: OutputSketch?, _ options: FitOptions
  ) throws(RegateError) -> PrototypeFit {
    guard !isUnchanged(options) else { return PrototypeFit.unchanged(set.router) }
    return try PrototypeFit.fit(set, outputs: outputs, options: options)
  }

  private static func figures(
    _ router: PrototypeRouter, _ set: CalibrationSet, _ options: FitOptions
  ) -> LayerFit.Figures {
    set.figures(
      of: router.route(set.inputs, threads: options.threads), physicalToLogical: router.physicalToLogical)
  }

  private static func heldOutFigures(
    _ set: CalibrationSet, _ outputs: OutputSketch?, _ options: FitOptions
  ) throws(RegateError) -> LayerFit.Figures? {
    guard let (fitted, heldOut) = set.split() else { return nil }
    let partial = try fit(set.gathering(fitted), outputs?.gathering(fitted), options)
    return figures(partial.router, set.gathering(heldOut), options)
  }
}
