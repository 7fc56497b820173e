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

  /// Mean over layers of the Gini of the form's router on tokens that its fit did not see.
  func heldOutGini(_ form: RouterForm) -> Double? {
    LayerStatistics(
      layers.map { $0.fit.evidence(of: form)?.heldOut?.metrics.gini }, largestIsWorst: true
    ).mean
  }
}

/// Runs fits for a model and its captures.
struct ModelFitter {
  let model: Model
  let calibration: Calibration
  let request: ConvertRequest
  /// The form whose balance a target is about.
  let form: RouterForm
  /// The forms that are needed: a fit file holds both.
  let forms: Set<RouterForm>
  let progress: any ProgressSink
  /// Where the state of a long run is kept; each pass over the layers is a stage of its own.
  let resume: ResumePoint?

  /// Fits that reach the asked balance: one strength, or the least that meets a target.
  func run() throws(RegateError) -> ModelFit {
    switch request.balance {
    case .strength(let strength):
      return try fit(strengths: [strength], stage: 0)[0]
    case .targetGini(let target):
      return try search(target)
    }
  }

  /// Strengths tried at first, and between the last that misses and the first that meets.
  static let coarse = [0.25, 0.5, 0.75, 1]
  private static let steps = 5

  private func search(_ target: Double) throws(RegateError) -> ModelFit {
    let fits = try fit(strengths: ModelFitter.coarse, stage: 0)
    guard let first = fits.firstIndex(where: { ($0.heldOutGini(form) ?? 1) <= target }) else {
      let best = fits.min { ($0.heldOutGini(form) ?? 1) < ($1.heldOutGini(form) ?? 1) }
      throw RegateError(
        .unreached, subject: "--target-gini",
        "\(target) was not reached: the nearest is a held-out Gini of "
          + "\(best?.heldOutGini(form) ?? 1) at strength \(best?.strength ?? 1)",
        advice: "nothing was written; use more calibration tokens or another --router")
    }
    let high = ModelFitter.coarse[first]
    let low = first > 0 ? ModelFitter.coarse[first - 1] : 0
    let between = (1..<ModelFitter.steps).map {
      low + (high - low) * Double($0) / Double(ModelFitter.steps)
    }
    let finer = try fit(strengths: between, stage: 1)
    return finer.first { ($0.heldOutGini(form) ?? 1) <= target } ?? fits[first]
  }

  /// One fit for each strength, in one pass over the layers and their experts.
  private func fit(strengths: [Double], stage: Int) throws(RegateError) -> [ModelFit] {
    let name = "fit " + strengths.map { "\($0)" }.joined(separator: " ")
    switch calibration {
    case .captures(let captures):
      let stage = try ResumeStage(resume, number: stage, name: name)
      return try fit(captures, strengths: strengths, stage)
    case .tokens(let tokens):
      let pass = try model.forwardPass(
        tokens, streams: strengths.count + 1, threads: request.threads, label: "Fitting",
        progress: progress)
      let stage = try ResumeStage(resume, number: stage, name: name, pass: pass)
      return try fit(pass, strengths: strengths, stage)
    }
  }

  /// Layer after layer, one patched stream for each strength beside the original's.
  private func fit(
    _ pass: ForwardPass, strengths: [Double], _ stage: ResumeStage
  ) throws(RegateError) -> [ModelFit] {
    var fits = try restored(stage, count: strengths.count)
    if let summary = stage.summary {
      let found = try qualities(summary)
      guard found.count == fits.count else { throw ResumeState.damaged(model.checkpoint.path) }
      return zip(fits.indices, found).map { index, quality in
        ModelFit(layers: fits[index], strength: strengths[index], quality: quality)
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
      var assignments = [original.route(pass.routerInputs(stream: 0), threads: request.threads)]
      var maps: [[Int]?] = [nil]
      var fitted: [(FittedLayer, LayerFit)] = []
      for (index, strength) in strengths.enumerated() {
        let inputs = pass.routerInputs(stream: index + 1)
        let outputs = try sampledOutputs(of: layer, inputs: inputs, original: original, progress: nil)
        let (new, fit) = try fit(
          layer, inputs: inputs, original: original, outputs: outputs, strength: strength)
        let router: any Router = form == .stock ? new.stock ?? original : new.native
        assignments.append(router.route(inputs, threads: request.threads))
        maps.append(new.slotFunction)
        fitted.append((new, fit))
      }
      let errors = try pass.applyExperts(assignments, functions: maps, measuringError: true)
      for (index, (new, fit)) in fitted.enumerated() {
        fits[index].append(
          ModelFit.Layer(
            fitted: new, fit: FitFigures(fit, outputError: errors[index + 1])))
      }
      try stage.ended(layer: layer.index, next: pass.layer, try records(fits))
    }
    let scores = try pass.scores()
    progress.end()
    let qualities = strengths.indices.map {
      ModelFit.Quality(original: scores[0], patched: scores[$0 + 1])
    }
    try stage.finish(.string(try ResumeRecord.text(qualities)))
    return strengths.indices.map {
      ModelFit(layers: fits[$0], strength: strengths[$0], quality: qualities[$0])
    }
  }

  private func fit(
    _ captures: Captures, strengths: [Double], _ stage: ResumeStage
  ) throws(RegateError) -> [ModelFit] {
    let layers = model.layout.layers
    let experts = layers.reduce(0) { $0 + $1.rule.experts }
    var fits = try restored(stage, count: strengths.count)
    progress.begin("Fitting", total: experts + layers.count * strengths.count * fitUnits)
    for (number, layer) in layers.enumerated() {
      if fits.allSatisfy({ number < $0.count }) {
        progress.skip(layer.rule.experts + strengths.count * fitUnits)
        continue
      }
      let inputs = try captures.inputs(layer: layer.index)
      let (gate, gateBias, selectionBias) = try layer.router(from: model.checkpoint)
      let original = FamilyRouter(
        gate: gate, logitBias: gateBias, selectionBias: selectionBias, rule: layer.rule)
      let outputs = try sampledOutputs(
        of: layer, inputs: inputs, original: original, progress: progress)
      for (index, strength) in strengths.enumerated() {
        let (fitted, fit) = try fit(
          layer, inputs: inputs, original: original, outputs: outputs, strength: strength)
        progress.advance(fitUnits)
        fits[index].append(
          ModelFit.Layer(fitted: fitted, fit: FitFigures(fit, outputError: nil)))
      }
      try stage.ended(layer: layer.index, next: layer.index + 1, try records(fits))
    }
    progress.end()
    try stage.finish([:])
    return zip(fits, strengths).map { ModelFit(layers: $0, strength: $1, quality: nil) }
  }

  /// Progress units of one layer's fit, in experts of the sampling pass.
  private var fitUnits: Int { 16 }

  private func fit(
    _ layer: MoELayer, inputs: Matrix, original: FamilyRouter, outputs: OutputSketch?,
    strength: Double
  ) throws(RegateError) -> (FittedLayer, LayerFit) {
    var options = FitOptions(
      levers: request.clones ? [.clone, .route] : [.route], strength: strength,
      latent: request.latent, form: request.latentForm, refinementSteps: request.steps,
      seed: request.seed, threads: request.threads)
    if forms.contains(.stock) {
      options.stock = .init(
        hasSelectionBias: original.selectionBias != nil,
        roundsGateToBF16: layer.gate.type == .bf16)
    }
    let fit = try LayerFitter.fit(
      inputs: inputs, original: original, outputs: outputs, options: options)
    let stock = fit.stock.map {
      FamilyRouter(
        gate: $0.gate, logitBias: original.logitBias, selectionBias: $0.selectionBias,
        rule: layer.rule)
    }
    let fitted = FittedLayer(
      index: layer.index, sketch: GateFingerprint.sketch(of: original.gate), native: fit.native,
      stock: stock, isUnchanged: fit.isUnchanged)
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
    return try ExpertSampling.sketch(
      inputs: inputs, original: original,
      pass: model.expertPass(of: layer, threads: request.threads, progress: progress))
  }
}
