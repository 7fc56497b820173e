// SPDX-License-Identifier: Apache-2.0
//
// Fits every MoE layer of a model: to captured activations, each layer on the original's inputs, or
// to tokens that the model is run on, each layer on what the already patched layers give it. Then
// original and patched streams run side by side through one pass over the weights.

import Architectures
import ByteStorage
import Checkpoints
import Fitting
import Inference
import OrderedCollections
import Routing
import Tensors

/// The new routers of a whole model, and what is known of them.
struct ModelFit: Sendable {
  /// One layer with the evidence for it.
  struct Layer: Sendable {
    let fitted: FittedLayer
    let fit: FitFigures

    init(fitted: FittedLayer, fit: FitFigures) {
      self.fitted = fitted
      self.fit = fit
    }
  }

  let layers: [Layer]
  let strength: Double
  /// nil where the fit was made from captures.
  let quality: Quality?
  /// All held-out tokens of the calibration sets; nil where none were held out.
  let overall: SetMeasure?
  /// Each set's held-out tokens.
  let sets: [SetMeasure]
  /// Where the time of the layers fitted in this run went, all strengths together.
  let phases: PhaseClock

  /// Mean over layers of the Gini of the form's router on tokens that its fit did not see.
  func heldOutGini(_ form: RouterForm) -> Double? {
    if let point { return point.gini }
    return LayerStatistics(
      layers.map { $0.fit.evidence(of: form)?.heldOut?.metrics.gini }, largestIsWorst: true
    ).mean
  }
}

/// Runs fits for a model and its captures.
struct ModelFitter {
  let model: Model
  let mix: CalibrationMix
  let request: ConvertRequest
  /// The form whose balance a target is about.
  let form: RouterForm
  /// The forms that are needed: a fit file holds both.
  let forms: Set<RouterForm>
  let progress: any ProgressSink
  /// Where the state of a long run is kept; each pass over the layers is a stage of its own.
  let resume: ResumePoint?

  /// The fit that reaches the asked balance.
  func run() throws(RegateError) -> ModelFit {
    try requireJudge()
    let fits = try fit(strengths: request.strengths)
    if case .strength = request.balance { return fits[0] }
    return fits[try StrengthSearch.choose(fits.compactMap(\.point), for: request.balance)]
  }

  /// What a budget is about must be measurable, told before the long work.
  private func requireJudge() throws(RegateError) {
    switch (request.balance, mix.calibration) {
    case (.maxLossIncrease, .captures):
      throw RegateError(
        .refused, subject: "--max-loss-increase",
        "captured activations do not tell the loss of the whole model",
        advice: "calibrate on text or token ids, or give --max-output-error")
    case (.maxOutputError, .tokens):
      throw RegateError(
        .refused, subject: "--max-output-error", "is for captured activations",
        advice: "give --max-loss-increase, which judges the whole model")
    case (.maxOutputError, .captures):
      guard let reason = model.layout.undecodable else { return }
      throw RegateError(
        .unsupported, file: request.checkpoint, subject: "--max-output-error",
        "the experts cannot be decoded: \(reason)", advice: "give --target-gini")
    default: return
    }
  }

  /// One fit for each strength, in one pass over the layers and their experts.
  func fit(strengths: [Double]) throws(RegateError) -> [ModelFit] {
    let name = "fit " + strengths.map { "\($0)" }.joined(separator: " ")
    switch mix.calibration {
    case .captures(let captures):
      let stage = try ResumeStage(resume, number: 0, name: name)
      return try fit(captures, strengths: strengths, stage)
    case .tokens(let tokens):
      let pass = try model.forwardPass(
        tokens, streams: strengths.count + 1, threads: request.threads, label: "Fitting",
        progress: progress)
      let stage = try ResumeStage(resume, number: 0, name: name, pass: pass)
      return try fit(pass, on: tokens, strengths: strengths, stage)
    }
  }

  /// Layer after layer, one patched stream for each strength beside the original's.
  private func fit(
    _ pass: ForwardPass, on tokens: TokenSet, strengths: [Double], _ stage: ResumeStage
  ) throws(RegateError) -> [ModelFit] {
    let groups = mix.measuredGroups
    let rows: [[Int32]?] = groups.isEmpty ? [nil] : groups.map { $0.map(Int32.init) }
    var fits = try restored(stage, count: strengths.count)
    var clock = PhaseClock()
    if let summary = stage.summary {
      let found = try qualities(summary)
      guard found.count == fits.count else { throw ResumeState.damaged(model.checkpoint.path) }
      return zip(fits.indices, found).map { index, quality in
        modelFit(fits[index], strength: strengths[index], quality: quality, clock)
      }
    }
    while pass.layer < model.layout.layerCount {
      try pass.attention()
      guard let layer = pass.moeLayer else {
        try pass.applyDense()
        try stage.ended(layer: pass.layer - 1, next: pass.layer)
        continue
      }
      let original = try pass.originalRouter()
      var assignments = [pass.route(original, stream: 0)]
      var maps: [[Int]?] = [nil]
      var fitted: [(FittedLayer, LayerFit)] = []
      for (index, strength) in strengths.enumerated() {
        let inputs = pass.routerInputs(stream: index + 1)
        clock.lap(otherPhase)
        let evidence = try evidence(layer, inputs: inputs, original: original, progress: nil)
        clock.lap(expertPhase)
        let (new, fit) = try fit(layer, evidence, original: original, strength: strength)
        clock.add(fit.phases)
        assignments.append(pass.route(router(of: new, original: original), stream: index + 1))
        maps.append(new.physicalToLogical)
        fitted.append((new, fit))
      }
      let errors = try pass.applyExperts(assignments, functions: maps, errorsOn: rows)
      for (index, (new, fit)) in fitted.enumerated() {
        let sets = groups.indices.map { group in
          SetLoad(
            assignments[0], map: Array(0..<layer.rule.experts), patched: assignments[index + 1],
            patchedMap: new.physicalToLogical, rows: groups[group],
            outputError: errors[group][index + 1])
        }
        fits[index].append(
          ModelFit.Layer(
            fitted: new, fit: FitFigures(fit, outputError: errors[0][index + 1], sets: sets)))
      }
      try stage.ended(layer: layer.index, next: pass.layer, try records(fits))
    }
    let scores = try pass.scores()
    progress.end()
    let qualities = strengths.indices.map {
      ModelFit.Quality(
        original: scores[0], patched: scores[$0 + 1],
        heldOut: likelihoods(tokens, original: scores[0], patched: scores[$0 + 1]))
    }
    try stage.finish(.string(try ResumeRecord.text(qualities)))
    return strengths.indices.map {
      modelFit(fits[$0], strength: strengths[$0], quality: qualities[$0], clock)
    }
  }

  private func fit(
    _ captures: Captures, strengths: [Double], _ stage: ResumeStage
  ) throws(RegateError) -> [ModelFit] {
    let layers = model.layout.layers
    let experts = layers.reduce(0) { $0 + $1.rule.experts }
    var fits = try restored(stage, count: strengths.count)
    var clock = PhaseClock()
    let passes = (mix.parts.isEmpty ? 1 : 2) + mix.parts.count { $0.role == .protected }
    progress.begin(
      "Fitting", total: experts * passes + layers.count * strengths.count * fitUnits)
    for (number, layer) in layers.enumerated() {
      if fits.allSatisfy({ number < $0.count }) {
        progress.skip(layer.rule.experts * passes + strengths.count * fitUnits)
        continue
      }
      let inputs = try captures.inputs(layer: layer.index)
      let (gate, gateBias, selectionBias) = try layer.router(from: model.checkpoint)
      let original = FamilyRouter(
        gate: gate, logitBias: gateBias, selectionBias: selectionBias, rule: layer.rule)
      clock.lap(otherPhase)
      let evidence = try evidence(layer, inputs: inputs, original: original, progress: progress)
      clock.lap(expertPhase)
      var fitted: [(FittedLayer, LayerFit)] = []
      for strength in strengths {
        let new = try fit(layer, evidence, original: original, strength: strength)
        clock.add(new.1.phases)
        fitted.append(new)
        progress.advance(fitUnits)
      }
      let measured = try measure(layer, fitted.map(\.0), inputs: inputs, original: original)
      for (index, (new, fit)) in fitted.enumerated() {
        let figures = FitFigures(
          fit, outputError: measured[index].first?.outputError, sets: measured[index])
        fits[index].append(ModelFit.Layer(fitted: new, fit: figures))
      }
      try stage.ended(layer: layer.index, next: layer.index + 1, try records(fits))
    }
    progress.end()
    try stage.finish([:])
    return zip(fits, strengths).map { modelFit($0, strength: $1, quality: nil, clock) }
  }

  /// What the clock calls time outside the fits: sampling of expert outputs, and all else that
  /// passes between two fits.
  private var expertPhase: String { "expert outputs" }
  private var otherPhase: String { "model" }

  /// Progress units of one layer's fit, in experts of the sampling pass.
  private var fitUnits: Int { 16 }

  /// What one layer is fitted to.
  private struct Evidence {
    /// [T,H] of the tokens that are fitted.
    let inputs: Matrix
    let outputs: OutputSketch?
    let demands: [ProtectedLoad]
  }

  private func evidence(
    _ layer: MoELayer, inputs: Matrix, original: FamilyRouter, progress: (any ProgressSink)?
  ) throws(RegateError) -> Evidence {
    let fitted = mix.fittedRows.map { inputs.gathering(rows: $0) } ?? inputs
    let outputs = try sampledOutputs(
      of: layer, inputs: fitted, original: original, progress: progress)
    var demands: [ProtectedLoad] = []
    for part in mix.parts where part.role == .protected {
      let inputs = inputs.gathering(rows: part.measured)
      let sketch = try sampledOutputs(
        of: layer, inputs: inputs, original: original, progress: progress)
      let assignment = original.route(inputs, threads: request.threads)
      demands.append(ProtectedLoad(assignment, experts: layer.rule.experts, norms: sketch?.norms))
    }
    return Evidence(inputs: fitted, outputs: outputs, demands: demands)
  }

  /// The router of the form that a target is about.
  private func router(of layer: FittedLayer, original: FamilyRouter) -> any Router {
    switch form {
    case .lpr: layer.prototype
    case .stock: layer.stock ?? original
    // Unchanged layers have none.
    case .lprOfficial: layer.official ?? layer.prototype
    }
  }

  /// Loads and output errors of each fit on captured tokens that it did not see.
  private func measure(
    _ layer: MoELayer, _ fitted: [FittedLayer], inputs: Matrix, original: FamilyRouter
  ) throws(RegateError) -> [[SetLoad]] {
    let groups = mix.measuredGroups
    guard !groups.isEmpty else { return fitted.map { _ in [] } }
    let rows = Array(Set(groups.flatMap { $0 })).sorted()
    let places = Dictionary(uniqueKeysWithValues: rows.enumerated().map { ($1, $0) })
    let local = groups.map { $0.compactMap { places[$0] } }
    let inputs = inputs.gathering(rows: rows)
    let experts = layer.rule.experts
    let before = OutputError.Routing(
      assignment: original.route(inputs, threads: request.threads), map: Array(0..<experts))
    let after = fitted.map {
      OutputError.Routing(
        assignment: router(of: $0, original: original).route(inputs, threads: request.threads),
        map: $0.physicalToLogical)
    }
    var errors = after.map { _ in [Double?](repeating: nil, count: groups.count) }
    if model.layout.undecodable == nil {
      errors = try OutputError.relative(
        inputs: inputs, original: before, candidates: after, groups: local,
        pass: model.expertPass(
          of: layer, threads: request.threads, progress: { [progress] in progress.advance(1) }))
    } else {
      progress.advance(experts)
    }
    return zip(after, errors).map { routing, errors in
      local.indices.map { group in
        SetLoad(
          before.assignment, map: before.map, patched: routing.assignment,
          patchedMap: routing.map, rows: local[group], outputError: errors[group])
      }
    }
  }

  /// A whole fit with what its held-out tokens say.
  private func modelFit(
    _ layers: [ModelFit.Layer], strength: Double, quality: ModelFit.Quality?, _ clock: PhaseClock
  ) -> ModelFit {
    guard !mix.parts.isEmpty else {
      return ModelFit(
        layers: layers, strength: strength, quality: quality, overall: nil, sets: [],
        phases: clock)
    }
    func loads(_ group: Int) -> [SetLoad] { layers.map { $0.fit.sets[group] } }
    let calibration = mix.parts.filter { $0.role == .calibration }
    return ModelFit(
      layers: layers, strength: strength, quality: quality,
      overall: SetMeasure(
        name: "all calibration sets", role: .calibration, share: 1,
        tokens: calibration.reduce(0) { $0 + $1.measured.count }, loads: loads(0),
        likelihood: quality?.heldOut[0]),
      sets: mix.parts.enumerated().map { place, part in
        SetMeasure(
          name: part.name, role: part.role, share: part.share,
          tokens: part.measured.count, loads: loads(place + 1),
          likelihood: quality?.heldOut[place + 1])
      },
      phases: clock)
  }

  /// Of the held-out sequences of all calibration sets, then of each set's.
  private func likelihoods(
    _ set: TokenSet, original: StreamScores, patched: StreamScores
  ) -> [SetMeasure.Likelihood] {
    guard !mix.parts.isEmpty else { return [] }
    let calibration = mix.parts.filter { $0.role == .calibration }.flatMap(\.measuredSequences)
    return ([calibration] + mix.parts.map(\.measuredSequences)).map {
      SetMeasure.Likelihood(set, sequences: $0, original: original, patched: patched)
    }
  }

  private func fit(
    _ layer: MoELayer, _ evidence: Evidence, original: FamilyRouter, strength: Double
  ) throws(RegateError) -> (FittedLayer, LayerFit) {
    // There the latent size and the steps that are asked for are those of what is written.
    let official = forms.contains(.lprOfficial)
    var options = FitOptions(
      levers: request.clones ? [.clone, .route] : [.route], strength: strength,
      latent: official ? .automatic : request.latent, form: request.latentForm,
      refinementSteps: official ? FitOptions.defaultRefinement(at: .automatic) : request.steps,
      demands: evidence.demands, seed: request.seed, threads: request.threads)
    if official {
      options.official = .init(
        latent: request.latent,
        refinementSteps: request.refinementSteps ?? FitOptions.defaultRefinement(at: .size(1)))
    }
    if official || forms.contains(.stock) {
      options.stock = .init(
        hasSelectionBias: original.selectionBias != nil,
        roundsGateToBF16: layer.gate.type == .bf16)
      options.stock?.roundsBiasToBF16 = request.inPlace && layer.selectionBias?.type == .bf16
    }
    let fit = try LayerFitter.fit(
      inputs: evidence.inputs, original: original, outputs: evidence.outputs, options: options)
    let stock = fit.stock.map {
      FamilyRouter(
        gate: $0.gate, logitBias: original.logitBias, selectionBias: $0.selectionBias,
        rule: layer.rule)
    }
    let fitted = FittedLayer(
      index: layer.index, sketch: GateFingerprint.sketch(of: original.gate), prototype: fit.prototype,
      stock: stock, official: fit.official?.router, isUnchanged: fit.isUnchanged)
    return (fitted, fit)
  }

  /// What the experts put out on a sample; nil where the experts cannot be decoded, or no clone is
  /// asked.
  private func sampledOutputs(
    of layer: MoELayer, inputs: Matrix, original: FamilyRouter, progress: (any ProgressSink)?
  ) throws(RegateError) -> OutputSketch? {
    guard request.clones, model.layout.undecodable == nil else {
      progress?.advance(layer.rule.experts)
      return nil
    }
    let sketch = try ExpertSampling.sketch(
      inputs: inputs, original: original,
      pass: model.expertPass(
        of: layer, threads: request.threads, progress: { progress?.advance(1) }))
    if let expert = sketch.norms.firstIndex(where: { !$0.isFinite }) {
      throw RegateError(
        .malformed, file: model.checkpoint.path,
        subject: "the output of layer \(layer.index)", "gives NaN or infinite activations",
        advice: "check the weights of expert \(expert)")
    }
    return sketch
  }
}
