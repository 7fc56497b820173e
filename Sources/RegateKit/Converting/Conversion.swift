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
  let progress: any ProgressSink

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

  /// What the conversion will write and need, from headers only.
  public func plan() throws(RegateError) -> ConversionPlan {
    ConversionPlan(
      model: model, form: form, request: request,
      mix: request.calibration.isEmpty
        ? nil : try CalibrationMix(request, for: model, checkingGates: false))
  }

  /// Fits, or reads the fit file, and writes the output where one is asked for.
  ///
  /// With `writing` false nothing is written, whatever is asked for.
  public func run(writing: Bool = true) throws(RegateError) -> Result {
    let clock = ContinuousClock.now
    let plan = try plan()
    var fit: ModelFit?
    let layers: [FittedLayer]
    if let path = request.fit {
      layers = try FitFile.read(path, for: model)
    } else {
      let fitted = try ModelFitter(
        model: model, mix: try CalibrationMix(request, for: model), request: request, form: form,
        forms: neededForms, progress: progress
      ).run()
      fit = fitted
      layers = fitted.layers.map(\.fitted)
    }
    if writing, let path = request.saveFit {
      try FitFile.write(
        layers, family: model.layout.family.name, figures: figures(fit), to: path,
        overwrite: request.overwrite)
    }
    var written: OutputWriter.Summary?
    if writing, let output = request.output {
      written = try write(layers, fit: fit, to: output)
    }
    return Result(
      plan: plan, fit: fit, written: written,
      seconds: Double((ContinuousClock.now - clock) / .milliseconds(1)) / 1000)
  }

  private var neededForms: Set<RouterForm> {
    request.saveFit == nil ? [form] : [.lpr, .stock]
  }

  private func write(
    _ layers: [FittedLayer], fit: ModelFit?, to output: String
  ) throws(RegateError) -> OutputWriter.Summary {
    var patches: [LayerPatch] = []
    for (layer, fitted) in zip(model.layout.layers, layers) {
      // Strength 0 asks for nothing: not a byte of the layer changes, in either form.
      if fit?.strength == 0 { continue }
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
