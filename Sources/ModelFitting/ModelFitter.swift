// SPDX-License-Identifier: Apache-2.0
//
// Fits every MoE layer of a model: to captured activations, each layer on the original's inputs, or
// to tokens that the model is run on, each layer on what the already patched layers give it,
// original and patched streams side by side in one pass over the weights. Several candidates run
// beside each other. Only fitted tokens reach a fit; the held-out ones go through the model beside
// them and judge.

package import Architectures
package import ByteStorage
import Checkpoints
import Fitting
package import Forms
import Inference
import Measures
package import Resuming
package import Routing
import Tensors
package import Traffic

/// Runs fits for a model and its traffic.
package struct ModelFitter {
  package let model: Model
  /// The layers to fit: some only on captures, where no fit reads anything of another.
  package let layers: [MoELayer]
  package let traffic: TrafficSample
  /// Shares of the calibration sets as they were asked for, for the record.
  package let weights: [Double]
  package let settings: FitSettings
  /// A BF16 selection bias stays BF16, for a change in place.
  package let keepsBiasType: Bool
  package let threads: Int
  package let progress: any ProgressSink
  /// Where the state of a long run is kept.
  package let resume: ResumePoint?

  package init(
    model: Model, layers: [MoELayer]? = nil, traffic: TrafficSample, weights: [Double],
    settings: FitSettings,
    keepsBiasType: Bool, threads: Int, progress: any ProgressSink, resume: ResumePoint?
  ) {
    self.model = model
    self.layers = layers ?? model.layout.layers
    self.traffic = traffic
    self.weights = weights
    self.settings = settings
    self.keepsBiasType = keepsBiasType
    self.threads = threads
    self.progress = progress
    self.resume = resume
  }

  /// The fit that keeps within the budget, for a router of `form`, with routers of `forms`.
  package func run(
    _ budget: Budget, form: RouterForm, forms: Set<RouterForm>
  ) throws(RegateError) -> ModelFit {
    try requireJudge(budget)
    let fits = try fit(
      budget.strengths.map {
        FitCandidate(budget: budget, strength: $0, form: form, forms: forms)
      })
    guard budget.isJudged else { return fits[0] }
    return fits[try StrengthSearch.choose(fits.compactMap(\.point), for: budget)]
  }

  /// What a budget is about must be measurable, told before the long work.
  package func requireJudge(_ budget: Budget) throws(RegateError) {
    switch (budget, traffic.calibration) {
    case (.maxLossIncrease, .captures):
      throw RegateError(
        .refused, subject: "`maxLossIncrease`",
        "captured activations do not tell the loss of the whole model",
        advice: "calibrate on text or token ids, or give `maxOutputError`")
    case (.maxOutputError, .tokens):
      throw RegateError(
        .refused, subject: "`maxOutputError`", "is for captured activations",
        advice: "give `maxLossIncrease`, which judges the whole model")
    case (.maxOutputError, .captures):
      guard let reason = model.layout.undecodable else { return }
      throw RegateError(
        .unsupported, file: model.checkpoint.path, subject: "`maxOutputError`",
        "the experts cannot be decoded: \(reason)", advice: "give `targetGini`")
    default: return
    }
  }

  // MARK: The walk

  /// Gets each layer with where its tokens go: under the original, and under each candidate.
  package typealias Observer = (MoELayer, Assignment, [Assignment]) throws(RegateError) -> Void

  /// One fit for each candidate, in one pass over the layers and their experts. `observer` does not
  /// hear of layers that an earlier run did.
  package func fit(
    _ candidates: [FitCandidate], observer: Observer = { _, _, _ in }
  ) throws(RegateError) -> [ModelFit] {
    let walk = try walk(candidates)
    var fits = try restored(walk, count: candidates.count)
    var clock = PhaseClock()
    if let summary = walk.summary {
      let qualities: [CandidateQuality] = try RecordedFigures.value(
        summary, of: "summary", path: model.checkpoint.path)
      guard qualities.count == fits.count else { throw damaged }
      return try modelFits(fits, candidates, qualities, clock)
    }
    while let layer = try walk.next() {
      let task = try LayerTask(self, walk: walk, layer: layer, candidates: candidates)
      let fitted = try task.run(&clock, observer)
      for (index, layer) in fitted.enumerated() { fits[index].append(layer) }
      try walk.keep(try records(walk, fitted))
    }
    let scores = try walk.scores()
    progress.end()
    let qualities = candidates.indices.map { index in
      scores.isEmpty ? CandidateQuality() : quality(scores[0], scores[index + 1])
    }
    try walk.keep(summary: try RecordedFigures.text(qualities))
    return try modelFits(fits, candidates, qualities, clock)
  }

  /// The walk over the layers with a stream for the original and each candidate.
  func walk(_ candidates: [FitCandidate]) throws(RegateError) -> LayerWalk {
    let name = "fit " + candidates.map { "\($0.strength)" }.joined(separator: " ")
    let units = { (layer: MoELayer) in
      layer.rule.experts * (traffic.holdsOut ? 2 : 1) + LayerTask.fitUnits * candidates.count
    }
    return try LayerWalk(
      model, traffic.calibration, apart: traffic.calibrationParts.flatMap(\.heldOut),
      streams: candidates.count + 1, threads: threads, label: "Fitting", layers: layers,
      units: units,
      resume: resume.map { ($0, name) }, progress: progress)
  }

  /// What the whole model's scores say of one candidate.
  private struct CandidateQuality: Codable {
    var whole: ModelFit.Quality?
    /// Of all calibration sets, then of each set.
    var heldOut: [SetMeasure.Likelihood?] = []
  }

  private func quality(
    _ original: StreamScores, _ patched: StreamScores
  ) -> CandidateQuality {
    guard case .tokens(let set) = traffic.calibration else { return CandidateQuality() }
    let lengths = set.sequences.map(\.count)
    let all = traffic.calibrationParts.flatMap(\.heldOutSequences)
    let groups = traffic.holdsOut ? [all] + traffic.parts.map(\.heldOutSequences) : []
    return CandidateQuality(
      whole: .init(original: original, patched: patched),
      heldOut: groups.map {
        SetMeasure.Likelihood(
          lengths: lengths, sequences: $0, original: original, patched: patched)
      })
  }

  // MARK: Continuing

  /// The layers of each of `count` fits that an earlier run did.
  private func restored(
    _ walk: LayerWalk, count: Int
  ) throws(RegateError) -> [[ModelFit.Layer]] {
    var fits = [[ModelFit.Layer]](repeating: [], count: count)
    for (layer, records) in zip(layers, try walk.restore()) {
      guard records.count == count else { throw damaged }
      for (index, record) in records.enumerated() {
        fits[index].append(try FitFile.layer(layer, in: record, for: model))
      }
    }
    return fits
  }

  private func records(
    _ walk: LayerWalk, _ layers: [ModelFit.Layer]
  ) throws(RegateError) -> [ResumeRecord] {
    guard walk.keepsRecords else { return [] }
    var records: [ResumeRecord] = []
    for layer in layers {
      records.append(
        ResumeRecord(
          tensors: try FitFile.tensors(of: layer.fitted), metadata: try FitFile.metadata([layer])))
    }
    return records
  }

  private var damaged: RegateError { ResumeState.damaged(model.checkpoint.path) }

  // MARK: Results

  private func modelFits(
    _ fits: [[ModelFit.Layer]], _ candidates: [FitCandidate], _ qualities: [CandidateQuality],
    _ clock: PhaseClock
  ) throws(RegateError) -> [ModelFit] {
    let checkpoint = try WeightsIdentity(model.checkpoint)
    return candidates.indices.map { index in
      ModelFit(
        fits[index], family: model.layout.family.name,
        origin: origin(candidates[index], qualities[index], of: checkpoint), phases: clock)
    }
  }

  private func origin(
    _ candidate: FitCandidate, _ quality: CandidateQuality, of checkpoint: WeightsIdentity
  ) -> FitOrigin {
    FitOrigin(
      version: RegateVersion.current, strength: candidate.strength, budget: candidate.budget,
      form: candidate.form, clones: settings.clones && candidate.budget.usesClones,
      encoder: settings.latentForm.encoder.rawValue,
      similarity: settings.latentForm.similarity.rawValue, latentSize: settings.latentSize,
      refinementSteps: settings.steps, seed: settings.seed, mtp: settings.mtp,
      calibration: traffic.names.calibration, weights: weights,
      protected: traffic.names.protected, tokens: traffic.tokens,
      precision: traffic.calibration.precision, judgingSets: judgingSets(quality),
      quality: quality.whole, checkpoint: checkpoint)
  }

  private func judgingSets(_ quality: CandidateQuality) -> [FitOrigin.JudgingSet] {
    guard traffic.holdsOut else { return [] }
    func likelihood(_ place: Int) -> SetMeasure.Likelihood? {
      place < quality.heldOut.count ? quality.heldOut[place] : nil
    }
    let calibration = traffic.calibrationParts
    return [
      FitOrigin.JudgingSet(
        name: "all calibration sets", role: .calibration, share: 1,
        tokens: calibration.reduce(0) { $0 + $1.heldOut.count }, likelihood: likelihood(0))
    ]
      + traffic.parts.enumerated().map { place, part in
        FitOrigin.JudgingSet(
          name: part.name, role: part.role, share: part.share, tokens: part.heldOut.count,
          likelihood: likelihood(place + 1))
      }
  }
}
