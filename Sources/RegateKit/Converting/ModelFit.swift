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
    let fit: LayerFit
    /// Relative error of the routed experts' output in the full patched pass; nil for captures.
    let outputError: Double?
  }

  /// Next-token figures of the whole model on the calibration tokens.
  struct Quality: Sendable {
    let original: StreamScores
    let patched: StreamScores
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

extension LayerFit {
  /// The figures of one form's router.
  func evidence(of form: RouterForm) -> Evidence? {
    switch form {
    case .lpr: evidence
    case .stock: stock?.evidence
    }
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

  /// Fits that reach the asked balance: one strength, or the least that meets a target.
  func run() throws(RegateError) -> ModelFit {
    switch request.balance {
    case .strength(let strength):
      return try fit(strengths: [strength])[0]
    case .targetGini(let target):
      return try search(target)
    }
  }

  /// Strengths tried at first, and between the last that misses and the first that meets.
  private static let coarse = [0.25, 0.5, 0.75, 1]
  private static let steps = 5

  private func search(_ target: Double) throws(RegateError) -> ModelFit {
    let fits = try fit(strengths: ModelFitter.coarse)
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
    let finer = try fit(strengths: between)
    return finer.first { ($0.heldOutGini(form) ?? 1) <= target } ?? fits[first]
  }

  /// One fit for each strength, in one pass over captures and experts.
  private func fit(strengths: [Double]) throws(RegateError) -> [ModelFit] {
    switch calibration {
    case .captures(let captures): try fit(captures, strengths: strengths)
    case .tokens(let tokens): try fit(tokens, strengths: strengths)
    }
  }

  /// Layer after layer, one patched stream for each strength beside the original's.
  private func fit(
    _ tokens: TokenSet, strengths: [Double]
  ) throws(RegateError) -> [ModelFit] {
    let pass = try model.forwardPass(
      tokens, streams: strengths.count + 1, threads: request.threads, label: "Fitting",
      progress: progress)
    var fits = [[ModelFit.Layer]](repeating: [], count: strengths.count)
    while pass.layer < model.layout.layerCount {
      try pass.attention()
      guard let layer = pass.moeLayer else {
        try pass.applyDense()
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
        fits[index].append(ModelFit.Layer(fitted: new, fit: fit, outputError: errors[index + 1]))
      }
    }
    let scores = try pass.scores()
    progress.end()
    return strengths.indices.map {
      ModelFit(
        layers: fits[$0], strength: strengths[$0],
        quality: ModelFit.Quality(original: scores[0], patched: scores[$0 + 1]))
    }
  }

  private func fit(
    _ captures: Captures, strengths: [Double]
  ) throws(RegateError) -> [ModelFit] {
    let layers = model.layout.layers
    let experts = layers.reduce(0) { $0 + $1.rule.experts }
    progress.begin("Fitting", total: experts + layers.count * strengths.count * fitUnits)
    var fits = [[ModelFit.Layer]](repeating: [], count: strengths.count)
    for layer in layers {
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
        fits[index].append(ModelFit.Layer(fitted: fitted, fit: fit, outputError: nil))
      }
    }
    progress.end()
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
      latent: request.latentSize.map { .size($0) } ?? .automatic, seed: request.seed,
      threads: request.threads)
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
      stock: stock)
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
