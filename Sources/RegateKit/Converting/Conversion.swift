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
    let written: OutputWriter.Summary?
    public let seconds: Double
  }

  let request: ConvertRequest
  let model: Model
  let form: RouterForm
  private let progress: any ProgressSink

  /// Opens the checkpoint and refuses, before any long work, what cannot be done.
  public init(_ request: ConvertRequest, progress: any ProgressSink) throws(RegateError) {
    self.request = request
    self.progress = progress
    model = try Model.open(request.checkpoint)
    form = request.form ?? (model.checkpoint.container == .gguf ? .stock : .lpr)
    try requireConvertible()
    if let output = request.output {
      let destination = try OutputDestination(output, for: model, form: form)
      if !request.overwrite { try destination.requireVacant() }
    }
    if let path = request.saveFit, !request.overwrite,
      FileManager.default.fileExists(atPath: path)
    {
      throw RegateError(
        .refused, file: path, "exists already", advice: "choose another file or pass --overwrite")
    }
  }

  /// The form that is written, what loads it, and how to choose another.
  public var headline: String { ConversionPlan.headline(form, model.checkpoint.container) }

  /// What the conversion will write and need, from headers only (and the texts' tokens).
  public func plan() throws(RegateError) -> ConversionPlan {
    guard !request.calibration.isEmpty else { return try plan(nil) }
    return try plan(
      Calibration(
        request.calibration, for: model, options: request.tokens, checkingGates: false))
  }

  private func plan(_ calibration: Calibration?) throws(RegateError) -> ConversionPlan {
    var run: RunEstimate?
    if case .tokens(let set) = calibration {
      let fits =
        switch request.balance {
        case .strength: 1
        case .targetGini: ModelFitter.coarse.count
        }
      run = try RunEstimate(
        model, tokens: set.tokens, streams: fits + 1, threads: request.threads)
    }
    return ConversionPlan(
      model: model, form: form, request: request, tokens: calibration?.tokens, run: run)
  }

  /// Fits, or reads the fit file, and writes the output where one is asked for.
  ///
  /// With `writing` false nothing is written, whatever is asked for.
  public func run(writing: Bool = true) throws(RegateError) -> Result {
    let clock = ContinuousClock.now
    let calibration =
      request.calibration.isEmpty
      ? nil : try Calibration(request.calibration, for: model, options: request.tokens)
    let plan = try plan(calibration)
    var fit: ModelFit?
    var point: ResumePoint?
    let layers: [FittedLayer]
    if let path = request.fit {
      layers = try FitFile.read(path, for: model)
    } else {
      guard let calibration else {
        throw RegateError(
          .missing, subject: "--calibration", "nothing was given",
          advice: "give text, token ids, a capture, or a fit")
      }
      if writing { point = try resumePoint(calibration) }
      let fitted = try makeFit(calibration, point)
      fit = fitted
      layers = fitted.layers.map(\.fitted)
    }
    var written: OutputWriter.Summary?
    if writing, let output = request.output {
      written = try write(layers, fit: fit, to: output)
    }
    // Last: an output that could not be written leaves no fit behind.
    if writing, let path = request.saveFit {
      try FitFile.write(
        layers, family: model.layout.family.name, figures: figures(fit), to: path,
        overwrite: request.overwrite)
    }
    point?.discard()
    return Result(
      plan: plan, fit: fit, written: written,
      seconds: Double((ContinuousClock.now - clock) / .milliseconds(1)) / 1000)
  }

  private func makeFit(
    _ calibration: Calibration, _ point: ResumePoint?
  ) throws(RegateError) -> ModelFit {
    do throws(RegateError) {
      return try ModelFitter(
        model: model, calibration: calibration, request: request, form: form, forms: neededForms,
        progress: progress, resume: point
      ).run()
    } catch {
      // A target that is out of reach stays so: there is nothing to continue.
      if error.code == .unreached { point?.discard() }
      throw error
    }
  }

  /// Where the state is kept: beside the output, or the fit file.
  private func resumePoint(_ calibration: Calibration) throws(RegateError) -> ResumePoint? {
    guard let output = request.output ?? request.saveFit else { return nil }
    var key = try ResumeKey("convert", checkpoint: model.checkpoint, calibration: calibration)
    key["--router"] = form.rawValue
    key["fitted forms"] = neededForms.map(\.rawValue).sorted().joined(separator: "+")
    key["--levers"] = request.clones ? "clone,route" : "route"
    switch request.balance {
    case .strength(let strength): key["--strength"] = "\(strength)"
    case .targetGini(let target): key["--target-gini"] = "\(target)"
    }
    key["--latent"] = request.latentSize.map { "\($0)" } ?? "auto"
    key["--seed"] = "\(request.seed)"
    return try ResumePoint(
      beside: output, key: key, options: request.resume,
      leftover: request.overwrite ? .remove : .refuse, progress: progress)
  }

  private var neededForms: Set<RouterForm> {
    request.saveFit == nil ? [form] : [.lpr, .stock]
  }

  private func write(
    _ layers: [FittedLayer], fit: ModelFit?, to output: String
  ) throws(RegateError) -> OutputWriter.Summary {
    var patches: [LayerPatch] = []
    for (layer, fitted) in zip(model.layout.layers, layers) {
      if fitted.isUnchanged { continue }
      patches.append(
        LayerPatch(
          layer: layer, slotFunction: fitted.slotFunction, router: try router(fitted, of: layer)))
    }
    let writer = OutputWriter(
      model: model, patches: patches, form: form,
      destination: try OutputDestination(output, for: model, form: form),
      manifest: manifest(patches: patches, fit: fit), threads: request.threads,
      progress: progress)
    return try writer.write(overwrite: request.overwrite)
  }

  private func router(
    _ fitted: FittedLayer, of layer: MoELayer
  ) throws(RegateError) -> LayerPatch.NewRouter {
    switch form {
    case .lpr: return .native(fitted.native)
    case .stock:
      guard let stock = fitted.stock else {
        throw RegateError(
          .missing, file: request.fit, subject: "layers.\(layer.index).stock_gate",
          "the fit holds no stock gate", advice: "fit again with --save-fit of this version")
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
    guard !layout.nativeRouter else {
      throw RegateError(
        .refused, file: request.checkpoint, "already has Regate's native router",
        advice: "convert the original")
    }
    if form == .lpr, model.checkpoint.container == .gguf {
      throw RegateError(
        .refused, subject: "--router lpr", "no GGUF runtime can load the native router",
        advice: "use --router stock")
    }
    if form == .lpr, let config = (model.checkpoint as? SafetensorsCheckpoint)?.config {
      try NativeConfig.requireLoadable(config, family: layout.family)
    }
    if request.clones, let reason = layout.unclonable {
      throw RegateError(
        .unsupported, file: request.checkpoint, "experts cannot be copied: \(reason)",
        advice: "use --levers route")
    }
  }
}
