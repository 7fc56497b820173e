// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Checkpoints
public import Forms
import Foundation
import Measures
import ModelFitting
import Resuming
import Routing
import Runtimes
import Tensors
import Traffic

/// A conversion that was checked and is ready to run: its checkpoint is open and its traffic is
/// read, once.
public struct PreparedConversion {
  private let request: ConversionPlan.Request
  private let model: Model
  /// The form that will be written.
  public let form: RouterForm
  /// nil where a fit is taken.
  private let fitting: FittingTask?
  private let givenFit: ModelFit?
  /// nil where nothing is to be written.
  private let target: ClaimedOutput?
  private let check: Check
  private let progress: any ProgressSink
  /// What the conversion will write and need.
  public let plan: ConversionPlan

  init(
    _ request: ConversionPlan.Request, progress: any ProgressSink
  ) throws(RegateError) {
    self.request = request
    self.progress = progress
    let model = try Self.open(request)
    progress.warn(of: model)
    self.model = model
    // A fit would be refused for the routers that an earlier change put there.
    if request.output?.isInPlace == true { try InPlaceWriter.requirePossible(model) }
    let given = try Self.fit(request.source, for: model)
    let pruned = (request.source?.budget ?? given?.origin.budget)?.pruned
    form =
      request.form
      ?? (pruned != nil ? .stock : request.output?.defaultForm(of: model) ?? model.defaultForm)
    if pruned != nil {
      try form.requireOwnRouter()
      try request.output?.requireNewFiles(checkpoint: request.checkpoint)
    }
    try model.requireFittable(form)
    try request.output?.requirePossible(form, model)
    check = Check(
      CheckSubject(planned: model, form: form, keepsBiasType: request.output?.isInPlace ?? false))
    try Self.requireNothingLost(check, form, model)
    target = try Self.claimed(request, model, form, prunes: pruned != nil)
    let clones: Bool
    var work: ConversionPlan.Work?
    switch request.source {
    case .traffic(let sets, let budget, let settings, _):
      givenFit = nil
      let settings = request.output.map(settings.suiting) ?? settings
      fitting = try FittingTask(
        model,
        FitRun.Request(
          checkpoint: request.checkpoint, calibration: sets, budget: budget, settings: settings,
          form: form, threads: request.threads),
        form: form, forms: [form], keepsBiasType: request.output?.isInPlace ?? false,
        progress: progress)
      clones = settings.clones && budget.usesClones
      work = try fitting.map { (fitting) throws(RegateError) in
        try ConversionPlan.Work(
          model, fitting.traffic, settings: settings, candidates: budget.strengths.count,
          threads: request.threads)
      }
    case .file, .fit, nil:
      fitting = nil
      if let given {
        try Self.requireFitting(given, model, request.output)
        try Self.warnOfOtherWeights(given, model, progress)
      }
      clones = given?.origin.clones ?? false
      givenFit = given
    }
    plan = ConversionPlan(
      model: model, form: form, check: check, clones: clones, pruned: pruned, work: work,
      takesFit: givenFit != nil, output: request.output)
  }

  /// With the layers of multi-token prediction where the fit has them.
  private static func open(_ request: ConversionPlan.Request) throws(RegateError) -> Model {
    switch request.source {
    case .traffic(let sets, _, let settings, _):
      return try Model.open(
        request.checkpoint, mtp: settings.mtp, precision: sets.tokens.precision)
    case .file(let path):
      let model = try Model.open(request.checkpoint)
      return try FitFile.includesMTP(path, for: model)
        ? try Model(including: model) : model
    case .fit(let fit): return try Model.open(request.checkpoint, mtp: fit.origin.mtp)
    case nil: return try Model.open(request.checkpoint)
    }
  }

  /// The fit that was given; nil where one is to be made.
  private static func fit(
    _ source: Conversion.Source?, for model: Model
  ) throws(RegateError) -> ModelFit? {
    switch source {
    case .traffic, nil: nil
    case .file(let path): try FitFile.read(path, for: model)
    case .fit(let fit): fit
    }
  }

  // MARK: What cannot be done

  /// Refuses an output in which some runtime would silently leave out what the original has not.
  static func requireNothingLost(
    _ check: Check, _ form: RouterForm, _ model: Model
  ) throws(RegateError) {
    let original = CheckSubject(model)
    // The prototype form has no other runtime.
    if form == .lpr, original.expertsLeftOut {
      throw RegateError(
        .refused, file: model.checkpoint.path, subject: "`router` lpr",
        "transformers would start random experts instead of those that AWQ or GPTQ quantised",
        advice: "use `router` stock, which gptqmodel loads")
    }
    let kept = Check(original).outcomes.flatMap(\.findings).map(\.rule)
    for outcome in check.outcomes {
      for finding in outcome.findings where finding.level == .drops && !kept.contains(finding.rule)
      {
        throw RegateError(
          .refused, file: model.checkpoint.path, subject: finding.subject,
          "\(outcome.runtime.rawValue): \(finding.text)", advice: "choose another `router`")
      }
    }
  }

  /// An output with the leave to write it.
  private enum ClaimedOutput {
    case checkpoint(ClaimedSink)
    case adapter(OutputClaim, rank: Int?)
  }

  private static func claimed(
    _ request: ConversionPlan.Request, _ model: Model, _ form: RouterForm, prunes: Bool
  ) throws(RegateError) -> ClaimedOutput? {
    let inputs = RunInputs(model.checkpoint, request.source?.files ?? [])
    switch request.output {
    case .checkpoint(let sink):
      return .checkpoint(
        try sink.claimed(
          for: model, severalFiles: form.output.replacesGate || prunes, apartFrom: inputs))
    case .adapter(let path, let rank, let overwrite):
      return .adapter(
        try OutputClaim(path, as: .adapter, overwrite: overwrite, apartFrom: inputs),
        rank: rank)
    case nil: return nil
    }
  }

  private static func requireFitting(
    _ fit: ModelFit, _ model: Model, _ output: Conversion.Output?
  ) throws(RegateError) {
    if fit.part != nil {
      throw RegateError(
        .refused, subject: "`fit`", "is a part of a fit, of some layers",
        advice: "write all parts, and join them with `FitMerge`")
    }
    guard fit.layerIndices == model.layout.layers.map(\.index),
      fit.family == model.layout.family.name
    else {
      throw RegateError(
        .mismatch, file: model.checkpoint.path, subject: "`fit`",
        "was made for other layers or another family", advice: "fit this checkpoint")
    }
    if let count = fit.origin.budget.pruned { return try model.requirePrunable(count) }
    for (layer, fitted) in zip(model.layout.layers, fit.layers) {
      let map = fitted.fitted.routers.physicalToLogical
      guard map != Array(map.indices) else { continue }
      if case .adapter? = output {
        throw RegateError(
          .refused, subject: "layer \(layer.index)",
          "the fit copies experts, which an adapter cannot", advice: "fit again without `clones`")
      }
      try model.requireMovableExperts(advice: "fit again without `clones`")
    }
  }

  /// Gates alone do not tell a fine-tune that left them alone from its base; nor is a quantisation
  /// of the fitted model another one, so that only weights stored in the same form are compared.
  private static func warnOfOtherWeights(
    _ fit: ModelFit, _ model: Model, _ progress: any ProgressSink
  ) throws(RegateError) {
    guard let fitted = fit.origin.checkpoint else { return }
    let found = try WeightsIdentity(model.checkpoint)
    guard fitted.layout == found.layout, fitted.sample != found.sample else { return }
    progress.warn(
      "the fit was made for other weights than those of \(model.checkpoint.path), though the routers "
        + "are the same: what it says of balance and loss is of that model")
  }

  // MARK: The time

  /// The plan with the time that the run takes, which is tried out.
  func timedPlan() throws(RegateError) -> ConversionPlan {
    var plan = plan
    if let copy = copiedBytes, let path = copy.path {
      try Volume.requireFree(copy.count, near: path.directory)
    }
    guard let fitting else { return plan }
    let trial = try fitting.trial()
    let files = model.checkpoint.files
    let reading = try DiskTrial.readingRate(files)
    let (tokens, layers) = (fitting.traffic.rows, model.layout.layers.count)
    // Layers are read while others are computed; of captures hardly a weight is read.
    let bytes = fitting.traffic.calibration.isRun ? files.reduce(0) { $0 + $1.count } : 0
    let layer =
      max(trial.model.seconds(tokens), Double(bytes / layers) / reading)
      + trial.fit.seconds(tokens)
    plan.work?.time = ConversionPlan.Time(
      fitting: Double(layers) * layer + trial.head.seconds(tokens),
      writing: copiedBytes.map { path, count in
        let writing = path.flatMap(DiskTrial.writingRate) ?? reading
        return Double(count) * (1 / reading + 1 / writing)
      } ?? 0)
    return plan
  }

  /// Where a copy goes, if that is known, and its bytes; nil for what is no copy.
  private var copiedBytes: (path: String?, count: Int)? {
    switch request.output {
    case .checkpoint(.copy(let path, _, _)): (path, plan.outputBytes)
    case .checkpoint, .adapter: nil
    case nil: (nil, plan.outputBytes)
    }
  }

  // MARK: The run

  /// Fits where that is asked for, and writes the output.
  public func run() throws(RegateError) -> Conversion {
    let start = ContinuousClock.now
    guard let output = request.output, let target else {
      throw RegateError(.missing, subject: "`output`", "nothing is to be written")
    }
    if let path = output.path { progress.warnOfLeftovers(beside: path) }
    let fit = try makeFit(for: output)
    var written: Written?
    var adapter: AdapterSummary?
    switch target {
    case .checkpoint(let sink): written = try write(fit, to: sink)
    case .adapter(let claim, let rank): adapter = try writeAdapter(fit, to: claim, rank: rank)
    }
    fitting?.discardState()
    return Conversion(
      plan: plan, fit: fit, form: form, isNewFit: fitting != nil, written: written,
      adapter: adapter, seconds: Duration.seconds(since: start))
  }

  private func makeFit(for output: Conversion.Output) throws(RegateError) -> ModelFit {
    if let givenFit { return givenFit }
    guard let fitting, case .traffic(_, _, _, let resume)? = request.source else {
      throw RegateError(.missing, subject: "`source`", "gives neither traffic nor a fit")
    }
    // A checkpoint that is given as "." has a name to put the state beside only in full.
    let path =
      output.path
      ?? URL(filePath: InPlaceWriter.path(of: model)).standardizedFileURL
      .path(percentEncoded: false)
    return try fitting.run(
      command: "convert",
      stateBeside: FitRun.Output(path, overwrite: output.overwrites, resume: resume))
  }

  private func write(_ fit: ModelFit, to sink: ClaimedSink) throws(RegateError) -> Written {
    let patches: [LayerPatch]
    do throws(RegateError) {
      patches = try fit.patches(
        of: model, form: form, keepsBiasType: request.output?.isInPlace ?? false)
    } catch {
      throw RegateError(
        error.code, file: error.file ?? fitPath ?? request.checkpoint, subject: error.subject,
        error.problem, advice: error.advice)
    }
    return try OutputWriter(
      model: model, patches: patches,
      manifest: Manifest(
        .conversion(fit, form: form, fitFile: fitPath?.lastPathComponent), of: model,
        patches: patches),
      threads: request.threads, progress: progress
    ).write(to: sink)
  }

  private func writeAdapter(
    _ fit: ModelFit, to claim: OutputClaim, rank: Int?
  ) throws(RegateError) -> AdapterSummary {
    var gates: [Matrix] = []
    for (layer, fitted) in zip(model.layout.layers, fit.layers) {
      guard let stock = fitted.fitted.routers.stock else {
        throw RegateError(
          .missing, file: fitPath, subject: "layers.\(layer.index).stock_gate",
          "the fit holds no stock gate", advice: "fit again with this version")
      }
      gates.append(stock.gate)
    }
    return try AdapterWriter(model: model, gates: gates, rank: rank)
      .write(to: claim)
  }

  private var fitPath: String? {
    if case .file(let path) = request.source { path } else { nil }
  }
}
