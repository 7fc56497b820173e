// SPDX-License-Identifier: Apache-2.0
//
// One layer's part of a fit: samples of the experts' outputs for all candidates and sets at once,
// one fit for each candidate, and figures of every form on fitted and held-out tokens.

import Architectures
import ByteStorage
import Checkpoints
import Fitting
import Forms
import Inference
import Measures
import Routing
import Tensors
import Traffic

struct LayerTask {
  private let fitter: ModelFitter
  private let walk: LayerWalk
  private let layer: MoELayer
  private let candidates: [FitCandidate]
  private let original: FamilyRouter

  /// Progress units of one layer's fit, in experts of the sampling pass.
  static let fitUnits = 16

  /// What the clock calls time outside the fits: sampling of expert outputs, and all else that
  /// passes between two fits.
  static let expertPhase = "expert outputs"
  static let otherPhase = "model"

  init(
    _ fitter: ModelFitter, walk: LayerWalk, layer: MoELayer, candidates: [FitCandidate]
  ) throws(RegateError) {
    self.fitter = fitter
    self.walk = walk
    self.layer = layer
    self.candidates = candidates
    original = try fitter.model.familyRouter(of: layer)
  }

  /// The layer of each candidate's fit; its tokens have gone through the experts then.
  func run(
    _ clock: inout PhaseClock, _ observer: ModelFitter.Observer
  ) throws(RegateError) -> [ModelFit.Layer] {
    clock.lap(Self.otherPhase)
    let fittedRows = fitter.traffic.fittedRows
    let evidence = try self.evidence(fittedRows)
    clock.lap(Self.expertPhase)
    var fits: [(fitted: FittedLayer, fit: LayerFit)] = []
    for (index, candidate) in candidates.enumerated() {
      let inputs = walk.inputs(stream: index + 1, rows: fittedRows)
      clock.lap(Self.otherPhase)
      let new = try fit(inputs, evidence[evidence.count == 1 ? 0 : index], candidate)
      clock.add(new.fit.phases)
      fits.append(new)
      walk.advance(Self.fitUnits)
    }
    return try measured(fits, fittedRows, observer)
  }

  // MARK: Evidence

  /// What a fit reads beside its inputs.
  private struct Evidence {
    var outputs: OutputSketch?
    var protected: [ProtectedLoad] = []
    /// E|h|² of the residual stream, where the model is run.
    var residualSquare: Double?
  }

  /// The evidence for each candidate; one for all on captures, whose inputs are the same.
  private func evidence(_ fittedRows: [Int]) throws(RegateError) -> [Evidence] {
    let streams = walk.pass == nil ? 1 : candidates.count
    let protectedRows = fitter.traffic.parts.filter { $0.role == .protected }.map(\.heldOut)
    let sketches = try self.sketches([fittedRows] + protectedRows, streams: streams)
    return (0..<streams).map { stream in
      var evidence = Evidence(outputs: sketches?[stream][0])
      evidence.residualSquare = walk.residualSquare(
        stream: stream + 1, rows: ExpertSampling.Tokens(fittedRows).sampled)
      for (place, rows) in protectedRows.enumerated() {
        let assignment = original.route(
          walk.inputs(stream: stream + 1, rows: rows), threads: fitter.threads)
        evidence.protected.append(
          ProtectedLoad(
            assignment, experts: layer.rule.experts, norms: sketches?[stream][place + 1].norms))
      }
      return evidence
    }
  }

  /// Sketched outputs on samples of each of `sets`, for each stream; nil where the experts cannot
  /// be decoded, or none is to be copied or pruned.
  private func sketches(
    _ sets: [[Int]], streams: Int
  ) throws(RegateError) -> [[OutputSketch]]? {
    guard fitter.settings.clones || candidates.contains(where: { $0.budget.pruned != nil }),
      fitter.model.layout.undecodable == nil
    else {
      walk.advance(layer.rule.experts)
      return nil
    }
    let tokens = sets.map(ExpertSampling.Tokens.init)
    let samples = (0..<streams).flatMap { stream in
      tokens.map { ($0, walk.inputs(stream: stream + 1, rows: $0.sampled)) }
    }
    let found = try ExpertSampling.sketches(
      samples, original: original, threads: fitter.threads, pass: try walk.samplingPass())
    guard found.allSatisfy({ $0.norms.allSatisfy(\.isFinite) }) else {
      let model = fitter.model
      throw NonFiniteSearch(model.checkpoint, layout: model.layout)
        .error(at: .output(layer: layer.index))
    }
    return (0..<streams).map { Array(found[$0 * sets.count..<($0 + 1) * sets.count]) }
  }

  // MARK: Fit

  private func fit(
    _ inputs: Matrix, _ evidence: Evidence, _ candidate: FitCandidate
  ) throws(RegateError) -> (fitted: FittedLayer, fit: LayerFit) {
    let fit = try LayerFitter.fit(
      inputs: inputs, original: original, outputs: evidence.outputs,
      options: options(candidate, evidence))
    let fitted = FittedLayer(
      index: layer.index, sketch: GateFingerprint.sketch(of: original.gate),
      routers: FittedRouters(
        prototype: fit.prototype, stock: fit.stock?.router(original), official: fit.official),
      isUnchanged: fit.isUnchanged)
    return (fitted, fit)
  }

  private func options(_ candidate: FitCandidate, _ evidence: Evidence) -> FitOptions {
    let settings = fitter.settings
    // There the latent size and the steps that are asked for are those of what is written.
    let official = candidate.forms.contains(.lprOfficial)
    var options = FitOptions(
      clones: settings.clones, strength: candidate.strength,
      ranks: candidate.budget.rankBalance(candidate.forms, judgedBy: candidate.form),
      pruned: candidate.budget.pruned,
      latent: official ? .automatic : settings.latent, form: settings.latentForm,
      refinementSteps: official
        ? FitOptions.defaultRefinement(at: .automatic) : settings.steps,
      protected: evidence.protected, seed: settings.seed, threads: fitter.threads)
    switch candidate.budget {
    case .strength, .maxLossIncrease, .maxOutputError:
      options.residualSquare = evidence.residualSquare
    // Balance that is asked for in figures is not traded for loss.
    case .targetGini, .evenRanks, .pruned: break
    }
    if official {
      options.official = .init(
        latent: settings.latent,
        refinementSteps: settings.refinementSteps
          ?? FitOptions.defaultRefinement(at: .size(1)))
    }
    if official || candidate.forms.contains(.stock) {
      options.stock = .init(
        hasSelectionBias: original.selectionBias != nil,
        gateType: layer.writtenGateType)
      if let bias = layer.gateBias { options.stock?.logitBiasType = bias.type }
      options.stock?.roundsBiasToBF16 = fitter.keepsBiasType && layer.selectionBias?.type == .bf16
    }
    return options
  }

  // MARK: Figures

  /// Sends all tokens through the experts, and reports each fit on fitted and held-out tokens.
  private func measured(
    _ fits: [(fitted: FittedLayer, fit: LayerFit)], _ fittedRows: [Int],
    _ observer: ModelFitter.Observer
  ) throws(RegateError) -> [ModelFit.Layer] {
    let groups = fitter.traffic.heldOutGroups
    let identity = Array(0..<layer.rule.experts)
    let before = walk.route(original, stream: 0)
    // Where nothing was asked for, a form has no router but the original one.
    let after = fits.enumerated().map { index, fit -> Assignment in
      let router: any Router =
        candidates[index].form.output.router(in: fit.fitted.routers) ?? original
      return walk.route(router, stream: index + 1)
    }
    try observer(layer, before, after)
    let figures = fits.enumerated().map { index, fit in
      evidence(of: fit.fitted, candidate: index, judged: after[index], fittedRows, groups.first)
    }
    let errors = try walk.finish(
      [before] + after, maps: [nil] + fits.map { $0.fitted.routers.physicalToLogical },
      groups: groups.isEmpty ? [nil] : groups)
    let originalEvidence = LayerFigures.Evidence(
      fitted: RoutingFigures(
        original: before, originalMap: identity, patched: before, patchedMap: identity,
        rows: fittedRows),
      heldOut: groups.first.map {
        RoutingFigures(
          original: before, originalMap: identity, patched: before, patchedMap: identity, rows: $0)
      })
    return fits.enumerated().map { index, new in
      let map = new.fitted.routers.physicalToLogical
      let sets = groups.indices.map { group in
        SetLoad(
          before, map: identity, patched: after[index], patchedMap: map, rows: groups[group],
          outputError: errors[group][index + 1].overall)
      }
      let found = figures[index]
      return ModelFit.Layer(
        fitted: new.fitted,
        figures: LayerFigures(
          original: originalEvidence, prototype: found.prototype, stock: found.stock,
          official: found.official, officialFidelity: found.fidelity,
          clones: new.fit.clones.count, latentSize: new.fit.prototype.latentSize,
          officialLatentSize: new.fit.official?.latentSize,
          explainedVariance: new.fit.explainedVariance, feasibleGini: new.fit.feasibleGini,
          outputError: errors.first?[index + 1].overall, sets: sets,
          rankStages: new.fit.stages.map(LayerFigures.RankStage.init)))
    }
  }

  private struct FormEvidence {
    let prototype: LayerFigures.Evidence
    let stock: LayerFigures.Evidence?
    let official: LayerFigures.Evidence?
    let fidelity: RoutingAgreement?
  }

  /// Every form's router against the original one on the same inputs, those of the candidate's own
  /// stream; `judged` is what the form that the stream follows does there.
  private func evidence(
    of fitted: FittedLayer, candidate: Int, judged: Assignment, _ fittedRows: [Int],
    _ heldOut: [Int]?
  ) -> FormEvidence {
    let identity = Array(0..<layer.rule.experts)
    let map = fitted.routers.physicalToLogical
    let stream = candidate + 1
    let before = walk.route(original, stream: stream)
    func figures(_ after: Assignment) -> LayerFigures.Evidence {
      func on(_ rows: [Int]) -> RoutingFigures {
        RoutingFigures(
          original: before, originalMap: identity, patched: after, patchedMap: map, rows: rows)
      }
      return LayerFigures.Evidence(fitted: on(fittedRows), heldOut: heldOut.map(on))
    }
    func routed(_ router: some Router, _ form: RouterForm) -> Assignment {
      form == candidates[candidate].form ? judged : walk.route(router, stream: stream)
    }
    let prototype = routed(fitted.routers.prototype, .lpr)
    let official = fitted.routers.official.map { routed($0, .lprOfficial) }
    let rows = heldOut ?? fittedRows
    return FormEvidence(
      prototype: figures(prototype),
      stock: fitted.routers.stock.map { figures(routed($0, .stock)) },
      official: official.map(figures),
      fidelity: official.map {
        RoutingAgreement(
          original: prototype.gathering(tokens: rows), originalMap: map,
          patched: $0.gathering(tokens: rows), patchedMap: map)
      })
  }
}
