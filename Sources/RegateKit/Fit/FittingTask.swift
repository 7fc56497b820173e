// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Forms
import ModelFitting
import Resuming
import Tensors
import Traffic

/// A fit that was asked for, with its traffic read: what `fit`, `convert` and `sweep` share.
final class FittingTask {
  let model: Model
  /// Those that are fitted; nil: all.
  private let layers: [MoELayer]?
  let traffic: TrafficSample
  let form: RouterForm
  private let request: FitRun.Request
  private let forms: Set<RouterForm>
  private let keepsBiasType: Bool
  private let progress: any ProgressSink
  private var point: ResumePoint?

  /// Checks what was asked for, and reads the traffic: once, for everything that follows.
  init(
    _ model: Model, _ request: FitRun.Request, form: RouterForm, forms: Set<RouterForm>,
    keepsBiasType: Bool, judged: Bool = false, progress: any ProgressSink
  ) throws(RegateError) {
    try model.requireFittable(form)
    for layer in model.layout.layers {
      try request.budget.requireRanks(dividing: layer.rule.experts)
    }
    if let count = request.budget.pruned {
      try model.requirePrunable(count)
      guard request.calibration.protected.isEmpty else {
        throw RegateError(
          .refused, subject: "`protected`", "is traffic that pruning would weigh like any other",
          advice: "give it as `calibration`")
      }
    } else if request.settings.clones && request.budget.usesClones {
      try model.requireMovableExperts(advice: "fit without `clones`")
    }
    layers = try request.layers.map { (part) throws(RegateError) in
      try request.budget.requireJudgeOfLayer()
      return try part.layers(of: model)
    }
    self.model = model
    self.form = form
    self.request = request
    self.forms = forms
    self.keepsBiasType = keepsBiasType
    self.progress = progress
    traffic = try TrafficSample(
      request.calibration, for: model, judged: judged || request.budget.isJudged,
      progress: progress)
    if layers != nil, traffic.calibration.isRun {
      throw RegateError(
        .refused, subject: "`layers`",
        "text and token ids go through all layers, each fitted to what the ones before it give",
        advice: "make a capture with `CaptureRun`, and fit the layers to that")
    }
  }

  /// The fit that keeps within the budget. With `output`, a long run keeps its state beside it.
  func run(command: String, stateBeside output: FitRun.Output?) throws(RegateError) -> ModelFit {
    point = try output.map { (output) throws(RegateError) in try resumePoint(command, output) }
    do throws(RegateError) {
      var fit = try fitter(resume: point).run(request.budget, form: form, forms: forms)
      if layers != nil {
        fit.part = FitPart(of: model.layout.layers.map(\.index), key: try key(command))
      }
      return fit
    } catch {
      // A target that is out of reach stays so: there is nothing to continue.
      // A run that could keep nothing leaves nothing.
      if error.code == .unreached || point?.isSaved == false { point?.discard() }
      throw error
    }
  }

  /// One fit for each strength.
  func run(strengths: [Double]) throws(RegateError) -> [ModelFit] {
    try fitter(resume: nil).fit(candidates(strengths))
  }

  /// What the fit takes, tried out on few tokens.
  func trial() throws(RegateError) -> FitTrial {
    let fitter = fitter(resume: nil)
    try fitter.requireJudge(request.budget)
    return try FitTrial(fitter, candidates(request.budget.strengths))
  }

  private func candidates(_ strengths: [Double]) -> [FitCandidate] {
    strengths.map {
      FitCandidate(budget: request.budget, strength: $0, form: form, forms: forms)
    }
  }

  /// Removes the state of the run, whose result is on the disk.
  func discardState() { point?.discard() }

  private func fitter(resume: ResumePoint?) -> ModelFitter {
    ModelFitter(
      model: model, layers: layers, traffic: traffic, weights: request.calibration.weights,
      settings: request.settings,
      keepsBiasType: keepsBiasType, threads: request.threads, progress: progress, resume: resume)
  }

  private func resumePoint(
    _ command: String, _ output: FitRun.Output
  ) throws(RegateError) -> ResumePoint {
    var key = try key(command)
    key["layers"] = LayerPart.words((layers ?? model.layout.layers).map(\.index))
    return try ResumePoint(
      beside: output.path, key: key, options: output.resume,
      leftover: output.overwrite ? .remove : .refuse, progress: progress)
  }

  /// All that a fit of all layers depends on.
  private func key(_ command: String) throws(RegateError) -> ResumeKey {
    let settings = request.settings
    var key = try ResumeKey(command, checkpoint: model.checkpoint, traffic: try traffic.digest())
    key["precision"] = model.expertProducts
    key["router"] = form.rawValue
    key["fitted forms"] = forms.map(\.rawValue).sorted().joined(separator: "+")
    key["clones"] = "\(settings.clones)"
    let budget = request.budget.field
    key[budget.name] = String(decoding: budget.value.serialised(.compact), as: UTF8.self)
    key["ranks"] = "\(request.budget.ranks ?? [])"
    key["mtp"] = "\(settings.mtp)"
    key["latent"] = settings.latentSize.map { "\($0)" } ?? "auto"
    key["encoder"] = settings.latentForm.encoder.rawValue
    key["similarity"] = settings.latentForm.similarity.rawValue
    key["refine"] = settings.refinementSteps.map { "\($0)" } ?? "auto"
    key["seed"] = "\(settings.seed)"
    key["keeps the bias's type"] = "\(keepsBiasType)"
    return key
  }
}

extension Budget {
  /// Refuses what is judged by all layers together, where some are fitted.
  fileprivate func requireJudgeOfLayer() throws(RegateError) {
    guard isJudged else { return }
    throw RegateError(
      .refused, subject: "`layers`",
      "with \(field.name) one strength is taken for all layers, by what all of them say",
      advice: "find it with a sweep of the whole model, and give `strength`")
  }
}

extension Model {
  /// The form that an output has where nothing else is asked for.
  var defaultForm: RouterForm { canBePrototype ? .lpr : .stock }

  /// Whether an output with files of its own can have the prototype form.
  var canBePrototype: Bool {
    // What makes drafts loads no other form.
    !layout.includesMTP && layout.family.hasPrototypeForm
      && (try? RouterForm.lpr.output.requirePossible(self)) != nil
  }

  /// Refuses, before any long work, a model that cannot be given new routers in `form`.
  func requireFittable(_ form: RouterForm) throws(RegateError) {
    try requireConvertible()
    guard !layout.hasPrototypeRouter else {
      throw RegateError(
        .refused, file: checkpoint.path,
        layout.hasOfficialRouter
          ? "already has the router of the official LPR code"
          : "already has Regate's prototype router",
        advice: "convert the original")
    }
    if form.output.replacesGate, layout.includesMTP {
      throw RegateError(
        .refused, subject: "`mtp`",
        "the runtimes of `router` \(form.rawValue) run no layer of multi-token prediction",
        advice: "use `router` stock, or leave `mtp` out")
    }
    try form.output.requirePossible(self)
  }

  /// Refuses routers that cannot be written.
  func requireConvertible() throws(RegateError) {
    let quantised = layout.layers.lazy.compactMap { layer in
      layer.gateBits.map { (layer: layer, bits: $0) }
    }.first
    guard let (layer, bits) = quantised else { return }
    throw RegateError(
      .unsupported, file: checkpoint.path, subject: layer.gate.name,
      "the router is quantised to \(bits) bits, which would round a new one off its balance",
      advice: "convert the model that it was made from with `router` stock, and quantise that "
        + "without its routers")
  }

  /// Refuses a model whose experts cannot be moved.
  func requireMovableExperts(advice: String) throws(RegateError) {
    guard let reason = layout.unclonable else { return }
    throw RegateError(
      .unsupported, file: checkpoint.path, "experts cannot be moved: \(reason)", advice: advice)
  }
}
