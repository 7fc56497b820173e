// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
import Fitting
import Foundation
import OrderedCollections
import Routing
import Tensors

/// Gives a checkpoint a balanced router.
public struct Conversion: Sendable {
  /// What came of it.
  public struct Result: Sendable {
    public let plan: ConversionPlan
    /// Figures of the fit; nil where a fit file was used.
    let fit: ModelFit?
    var placement: ModelPlacement?
    var written: OutputWriter.Summary?
    /// Bytes of the delta.
    var deltaBytes: Int?
    var inPlace: InPlaceWriter.Summary?
    var lora: LoRAAdapter.Summary?
    var locations: ExpertLocations?
    public var seconds = 0.0
  }

  let request: ConvertRequest
  let model: Model
  let form: RouterForm
  let progress: any ProgressSink

  /// Opens the checkpoint and refuses, before any long work, what cannot be done.
  public init(_ request: ConvertRequest, progress: any ProgressSink) throws(RegateError) {
    self.request = request
    self.progress = progress
    model = try Model.open(request.checkpoint, mtp: request.mtp)
    let isStock =
      model.checkpoint.container == .gguf || request.inPlace || request.lora != nil
      || request.mtp || !request.routes
    form = request.form ?? (isStock ? .stock : .lpr)
    try requireConvertible()
    try requireSinks()
    if let output = request.output {
      let destination = try OutputDestination(output, for: model, form: form)
      if !request.overwrite { try destination.requireVacant() }
    }
    let files = [request.saveFit, request.delta, request.lora, request.expertLocations]
    for path in files.compactMap({ $0 })
    where !request.overwrite && FileManager.default.fileExists(atPath: path) {
      throw RegateError(
        .refused, file: path, "exists already", advice: "choose another file or pass --overwrite")
    }
  }

  /// Refuses, before any long work, what an adapter or a change in place cannot be.
  private func requireSinks() throws(RegateError) {
    if form.replacesGate, !request.routes || request.inPlace || request.lora != nil {
      throw RegateError(
        .refused, subject: "--router \(form.rawValue)",
        !request.routes
          ? "goes with the lever route only" : "needs files of its own: not in place, no adapter",
        advice: "use --router stock")
    }
    if form.replacesGate, request.mtp {
      throw RegateError(
        .refused, subject: "--mtp",
        "the runtimes of --router \(form.rawValue) run no layer of multi-token prediction",
        advice: "use --router stock, or leave --mtp out")
    }
    if request.lora != nil {
      try LoRAAdapter.requirePossible(model, clones: request.clones, rank: request.loraRank)
    }
    if request.inPlace { try InPlaceWriter(writer: writer([], fit: nil)).requirePossible() }
    try requireNothingLost()
  }

  /// Refuses an output in which some runtime would silently leave out what the original has not.
  private func requireNothingLost() throws(RegateError) {
    // The prototype form has no other runtime.
    if form == .lpr, CheckSubject(model).expertsLeftOut {
      throw RegateError(
        .refused, file: request.checkpoint, subject: "--router lpr",
        "transformers would start random experts instead of those that AWQ or GPTQ quantised",
        advice: "use --router stock, which gptqmodel loads")
    }
    let kept = Check(CheckSubject(model)).outcomes.flatMap(\.findings).map(\.rule)
    for outcome in check.outcomes {
      for finding in outcome.findings where finding.level == .drops && !kept.contains(finding.rule)
      {
        throw RegateError(
          .refused, file: request.checkpoint, subject: finding.subject,
          "\(outcome.runtime.rawValue): \(finding.text)", advice: "choose another --router")
      }
    }
  }

  /// What serving runtimes will make of the output.
  private var check: Check {
    Check(
      CheckSubject(
        planned: model, form: form, keepsBiasType: request.inPlace || !request.routes))
  }

  /// The form that is written, what loads it, and how to choose another.
  public var headline: String {
    ConversionPlan.headline(form, model.checkpoint.container, routes: request.routes)
  }

  /// What the conversion will write and need, from headers only (and the texts' tokens).
  public func plan() throws(RegateError) -> ConversionPlan {
    guard !request.calibration.isEmpty else { return try plan(nil) }
    return try plan(CalibrationMix(request, for: model, checkingGates: false))
  }

  /// The form that is written, and the memory that several candidates need.
  public var introduction: String {
    get throws(RegateError) {
      guard request.strengths.count > 1, let memory = try plan().memory else { return headline }
      return headline + "\n" + memory
    }
  }

  private func plan(_ mix: CalibrationMix?) throws(RegateError) -> ConversionPlan {
    var run: RunEstimate?
    if case .tokens(let set) = mix?.calibration {
      run = try RunEstimate(
        model, tokens: set.tokens, streams: request.strengths.count + 1,
        threads: request.threads)
    }
    return ConversionPlan(
      model: model, form: form, request: request, check: check, mix: mix, run: run)
  }

  /// Fits, or reads the fit file, and writes the output where one is asked for.
  ///
  /// With `writing` false nothing is written, whatever is asked for.
  public func run(writing: Bool = true) throws(RegateError) -> Result {
    let clock = ContinuousClock.now
    let mix = request.calibration.isEmpty ? nil : try CalibrationMix(request, for: model)
    var result = Result(plan: try plan(mix), fit: nil)
    var point: ResumePoint?
    if let path = request.expertLocations {
      let load = try originalLoad()
      if writing {
        result.locations = try ExpertLocations.write(
          load, of: model, ranks: request.ranks.max() ?? 1, machines: request.machines,
          redundant: request.redundantExperts, to: path, overwrite: request.overwrite)
      }
    } else {
      var layers: [FittedLayer]?
      if let path = request.fit {
        layers = try FitFile.read(path, for: model)
      } else if request.routes {
        guard let mix else {
          throw RegateError(
            .missing, subject: "--calibration", "nothing was given",
            advice: "give text, token ids, a capture, or a fit")
        }
        if writing { point = try resumePoint(mix) }
        let fitted = try makeFit(mix, point)
        result = Result(plan: result.plan, fit: fitted)
        layers = fitted.layers.map(\.fitted)
      }
      result.placement = try placement(after: result.fit)
      if writing { try write(layers, &result) }
    }
    point?.discard()
    result.seconds = Double((ContinuousClock.now - clock) / .milliseconds(1)) / 1000
    return result
  }

  /// The load of the original's experts, from an importance matrix or the calibration set.
  private func originalLoad() throws(RegateError) -> ExpertLoad {
    if let imatrix = request.imatrix { return try ExpertLoad(imatrix: imatrix, for: model) }
    return try ExpertLoad(
      Calibration(request.calibration, for: model, options: request.tokens), of: model,
      threads: request.threads, progress: progress)
  }

  /// The renumbering that balances the ranks under the new routers, or the original's.
  private func placement(after fit: ModelFit?) throws(RegateError) -> ModelPlacement? {
    guard request.places else { return nil }
    let load =
      if let fit {
        fit.layers.map { layer in
          (layer.fit.evidence(of: form)?.calibration ?? layer.fit.original.calibration).load
        }
      } else {
        try originalLoad().layers
      }
    let layers = model.layout.layers
    let experts = layers.map(\.rule.experts).min() ?? 1
    let ranks = request.ranks.filter { $0 <= experts }
    guard !ranks.isEmpty else {
      throw RegateError(
        .refused, subject: "--ep", "no rank count is at most \(experts), the number of experts")
    }
    return ModelPlacement(load, model: model, ranks: ranks) { index, load in
      Placement.balanced(
        load: load, groups: layers[index].rule.groups?.count ?? 1, ranks: ranks)
    }
  }

  private func makeFit(
    _ mix: CalibrationMix, _ point: ResumePoint?
  ) throws(RegateError) -> ModelFit {
    do throws(RegateError) {
      return try ModelFitter(
        model: model, mix: mix, request: request, form: form, forms: neededForms,
        progress: progress, resume: point
      ).run()
    } catch {
      // A target that is out of reach stays so: there is nothing to continue.
      if error.code == .unreached { point?.discard() }
      throw error
    }
  }

  /// Where the state is kept: beside the output, or the fit file.
  private func resumePoint(_ mix: CalibrationMix) throws(RegateError) -> ResumePoint? {
    guard
      let output = request.output ?? request.saveFit ?? request.delta ?? request.lora
    else { return nil }
    var key = try ResumeKey(
      "convert", checkpoint: model.checkpoint, calibration: mix.calibration)
    key["--router"] = form.rawValue
    key["fitted forms"] = neededForms.map(\.rawValue).sorted().joined(separator: "+")
    key["--levers"] = request.levers.joined(separator: ",")
    switch request.balance {
    case .strength(let strength): key["--strength"] = "\(strength)"
    case .targetGini(let target): key["--target-gini"] = "\(target)"
    case .maxLossIncrease(let most): key["--max-loss-increase"] = "\(most)"
    case .maxOutputError(let most): key["--max-output-error"] = "\(most)"
    case .sweep(let strengths): key["--strengths"] = "\(strengths)"
    }
    key["sets"] = mix.parts.map { "\($0.name) \($0.role.rawValue) \($0.share ?? 0)" }
      .joined(separator: ", ")
    key["--mtp"] = "\(request.mtp)"
    key["--latent"] = request.latentSize.map { "\($0)" } ?? "auto"
    key["--encoder"] = request.latentForm.encoder.rawValue
    key["--similarity"] = request.latentForm.similarity.rawValue
    key["--refine"] = request.refinementSteps.map { "\($0)" } ?? "auto"
    key["--seed"] = "\(request.seed)"
    return try ResumePoint(
      beside: output, key: key, options: request.resume,
      leftover: request.overwrite ? .remove : .refuse, progress: progress)
  }

  private var neededForms: Set<RouterForm> {
    request.saveFit == nil ? [form] : [form, .lpr, .stock]
  }

  /// Writes everything that is asked for.
  private func write(
    _ layers: [FittedLayer]?, _ result: inout Result
  ) throws(RegateError) {
    try writeOutputs(layers, &result)
    // Last: an output that could not be written leaves no fit behind.
    if let path = request.saveFit, let layers {
      try FitFile.write(
        layers, family: model.layout.family.name, figures: figures(result.fit), to: path,
        overwrite: request.overwrite)
    }
  }

  private func writeOutputs(
    _ layers: [FittedLayer]?, _ result: inout Result
  ) throws(RegateError) {
    if let path = request.lora, let layers {
      var gates: [Matrix] = []
      for (layer, fitted) in zip(model.layout.layers, layers) {
        guard fitted.physicalToLogical == Array(fitted.physicalToLogical.indices) else {
          throw RegateError(
            .refused, file: request.fit, subject: "layer \(layer.index)",
            "the fit copies experts, which an adapter cannot",
            advice: "fit again with --levers route")
        }
        guard case .stock(let stock) = try router(fitted, of: layer) else { continue }
        gates.append(stock.gate)
      }
      result.lora = try LoRAAdapter(model: model, gates: gates, rank: request.loraRank)
        .write(to: path, overwrite: request.overwrite)
    }
    guard request.output != nil || request.delta != nil || request.inPlace else { return }
    let patches = try patches(layers, placement: result.placement)
    if request.output != nil {
      result.written = try writer(patches, fit: result.fit).write(overwrite: request.overwrite)
    }
    if let path = request.delta {
      result.deltaBytes = try writer(patches, fit: result.fit, besideOriginal: true)
        .writeDelta(to: path, overwrite: request.overwrite)
    }
    if request.inPlace {
      result.inPlace = try InPlaceWriter(writer: writer(patches, fit: result.fit)).write()
    }
  }

  private func patches(
    _ layers: [FittedLayer]?, placement: ModelPlacement?
  ) throws(RegateError) -> [LayerPatch] {
    var patches: [LayerPatch] = []
    for (index, layer) in model.layout.layers.enumerated() {
      let placed = placement?.layers[index]
      guard let fitted = layers?[index], !fitted.isUnchanged else {
        if let placed, placed != Array(placed.indices) {
          patches.append(LayerPatch(renumbering: layer, by: placed, in: model.checkpoint))
        }
        continue
      }
      patches.append(
        LayerPatch(
          layer: layer, physicalToLogical: fitted.physicalToLogical, router: try router(fitted, of: layer),
          placement: placed, keepsBiasType: request.inPlace))
    }
    return patches
  }

  private func writer(
    _ patches: [LayerPatch], fit: ModelFit?, besideOriginal: Bool = false
  ) throws(RegateError) -> OutputWriter {
    let destination =
      if let output = request.output, !besideOriginal {
        try OutputDestination(output, for: model, form: form)
      } else {
        OutputDestination(besideOriginal: model, form: form)
      }
    return OutputWriter(
      model: model, patches: patches, form: form, destination: destination,
      manifest: manifest(patches: patches, fit: fit), threads: request.threads,
      linking: request.links, progress: progress)
  }

  private func router(
    _ fitted: FittedLayer, of layer: MoELayer
  ) throws(RegateError) -> LayerPatch.NewRouter {
    switch form {
    case .lpr: return .prototype(fitted.prototype)
    case .lprOfficial:
      guard let official = fitted.official else {
        throw RegateError(
          .missing, file: request.fit, subject: "layers.\(layer.index).official_encoder",
          "the fit holds no router for the official code",
          advice: "fit with --router lpr-official, which --save-fit keeps")
      }
      return .official(official)
    case .stock:
      guard let stock = fitted.stock else {
        throw RegateError(
          .missing, file: request.fit, subject: "layers.\(layer.index).stock_gate",
          "the fit holds no stock gate", advice: "fit again with --save-fit of this version")
      }
      // A bias without a tensor would be left out, and one without new values would stay.
      guard (stock.selectionBias == nil) == (layer.selectionBias == nil) else {
        throw RegateError(
          .refused, file: request.checkpoint, subject: layer.selectionBias?.name ?? layer.gate.name,
          layer.selectionBias == nil
            ? "the fit selects by a bias, but the checkpoint has no tensor for it"
            : "the fit has no values for this selection bias",
          advice: "fit this checkpoint itself with --calibration")
      }
      return .stock(stock)
    }
  }

  private func requireConvertible() throws(RegateError) {
    let layout = model.layout
    guard layout.tier == .convertible else {
      throw RegateError(
        .unsupported, file: request.checkpoint,
        "\(layout.family.title) can be inspected, but not yet converted",
        advice: "convertible are "
          + Family.all.filter { $0.tier == .convertible }.map(\.title).joined(separator: ", "))
    }
    guard !layout.hasPrototypeRouter else {
      throw RegateError(
        .refused, file: request.checkpoint,
        layout.hasOfficialRouter
          ? "already has the router of the official LPR code"
          : "already has Regate's prototype router",
        advice: "convert the original")
    }
    if form == .lpr, model.checkpoint.container == .gguf {
      throw RegateError(
        .refused, subject: "--router lpr", "no GGUF runtime can load the prototype router",
        advice: "use --router stock")
    }
    if let layer = layout.layers.first(where: { $0.gateQuantisation != nil }) {
      let bits = layer.gateQuantisation.map { "\($0.bits)" } ?? "few"
      throw RegateError(
        .unsupported, file: request.checkpoint, subject: layer.gate.name,
        "the router is quantised to \(bits) bits, which would round a new one off its balance",
        advice: "convert the model that it was made from with --router stock, and quantise that "
          + "without its routers")
    }
    if form == .lprOfficial { try OfficialConfig.requireExpressible(model) }
    if form == .lpr, let config = model.checkpoint.config {
      try PrototypeConfig.requireLoadable(config, family: layout.family)
    }
    if request.clones && request.routes || request.places, let reason = layout.unclonable {
      throw RegateError(
        .unsupported, file: request.checkpoint, "experts cannot be moved: \(reason)",
        advice: "use --levers route")
    }
  }
}
