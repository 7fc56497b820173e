// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
import Fitting
public import Forms
import Inference
import Measures
public import ModelFitting
public import Resuming
import Tensors
public import Traffic

/// Fits balanced routers to traffic. Nothing of the checkpoint is written.
public struct FitRun: Report {
  /// What a fit is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// The traffic to fit to.
    public var calibration: CalibrationSets
    /// How much balance.
    public var budget: Budget
    /// What the fit may change and how its routers are made.
    public var settings: FitSettings
    /// The form that a budget is about; nil: the container's default, `lpr` for safetensors and
    /// `stock` for GGUF. A fit always holds these two, and the official form if it is asked for
    /// here.
    public var form: RouterForm?
    /// The layers to fit, on captures, as a part that `FitMerge` joins with others; nil: all.
    public var layers: LayerPart?
    /// Threads to work on; the result does not depend on it.
    public var threads: Int
    /// nil: nothing is written, and no state of a long run is kept.
    public var output: Output?

    public init(
      checkpoint: String, calibration: CalibrationSets, budget: Budget = .strength(1),
      settings: FitSettings = .init(), form: RouterForm? = nil,
      layers: LayerPart? = nil, threads: Int = Threads.all, output: Output? = nil
    ) {
      self.checkpoint = checkpoint
      self.calibration = calibration
      self.budget = budget
      self.settings = settings
      self.form = form
      self.layers = layers
      self.threads = threads
      self.output = output
    }
  }

  /// The fit file to write; the state of a long run lies beside it.
  public struct Output: Sendable {
    /// Path of the file.
    public var path: String
    /// Replace a file that is there.
    public var overwrite: Bool
    /// How the state of a long run is kept.
    public var resume: ResumeOptions

    public init(_ path: String, overwrite: Bool = false, resume: ResumeOptions = .init()) {
      self.path = path
      self.overwrite = overwrite
      self.resume = resume
    }
  }

  /// The routers, and what is known of them.
  public let fit: ModelFit
  /// The form that the figures are about.
  public let form: RouterForm
  /// The file that was written; nil where none was asked for.
  public let output: String?
  /// Wall-clock seconds.
  public let seconds: Double

  /// Fits, and writes the fit file where one is asked for.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> FitRun {
    let start = ContinuousClock.now
    let model = try Model.open(
      request.checkpoint, mtp: request.settings.mtp,
      precision: request.calibration.tokens.precision)
    progress.warn(of: model)
    let inputs = RunInputs(model.checkpoint, request.calibration.allFiles)
    let claim = try request.output.map { (output) throws(RegateError) in
      try OutputClaim(output.path, as: .fit, overwrite: output.overwrite, apartFrom: inputs)
    }
    let prunes = request.budget.pruned != nil
    let form = request.form ?? (prunes ? .stock : model.defaultForm)
    if prunes { try form.requireOwnRouter() }
    let fitting = try FittingTask(
      model, request, form: form, forms: prunes ? [form] : [form, .lpr, .stock],
      keepsBiasType: false, progress: progress)
    if let output = request.output { progress.warnOfLeftovers(beside: output.path) }
    let fit = try fitting.run(command: "fit", stateBeside: request.output)
    if let claim {
      try FitFile.write(fit, to: claim)
      fitting.discardState()
    }
    return FitRun(
      fit: fit, form: form, output: request.output?.path, seconds: Duration.seconds(since: start))
  }
}

extension ModelFit {
  /// Writes the fit to a file, which serves every copy of the model: the original and all its
  /// quantisations, in both containers. `overwrite` replaces a fit file, and nothing else.
  public func write(to path: String, overwrite: Bool = false) throws(RegateError) {
    try FitFile.write(
      self, to: OutputClaim(path, as: .fit, overwrite: overwrite, apartFrom: RunInputs()))
  }

  /// Reads the fit at `path` for the checkpoint at `checkpoint`, whose gates it must have been made
  /// for.
  public static func read(_ path: String, for checkpoint: String) throws(RegateError) -> ModelFit {
    var model = try Model.open(checkpoint)
    if try FitFile.includesMTP(path, for: model) {
      model = try Model.open(checkpoint, mtp: true)
    }
    return try FitFile.read(path, for: model)
  }
}
