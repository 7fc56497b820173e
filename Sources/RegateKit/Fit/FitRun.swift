// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
import Fitting
public import Forms
import Inference
import Measures
public import ModelFitting
import Resuming
import Tensors
public import Traffic

/// Fits balanced routers to traffic. Nothing of the checkpoint is written.
public struct FitRun: Report {
  /// What a fit is asked for.
  public struct Request: Sendable {
    public var checkpoint: String
    public var calibration: CalibrationSets
    public var budget: Budget
    public var settings: FitSettings
    /// The form that a budget is about; nil: the container's default, `lpr` for safetensors and
    /// `stock` for GGUF. A fit always holds these two, and the official form if it is asked for here.
    public var form: RouterForm?
    public var threads: Int
    public var resume: ResumeOptions
    /// Where the fit will be written: the state of a long run lies beside it. nil: no state is kept.
    public var output: String?
    public var overwrite: Bool

    public init(
      checkpoint: String, calibration: CalibrationSets, budget: Budget = .strength(1),
      settings: FitSettings = .init(), form: RouterForm? = nil,
      threads: Int = Threads.all, resume: ResumeOptions = .init(), output: String? = nil,
      overwrite: Bool = false
    ) {
      self.checkpoint = checkpoint
      self.calibration = calibration
      self.budget = budget
      self.settings = settings
      self.form = form
      self.threads = threads
      self.resume = resume
      self.output = output
      self.overwrite = overwrite
    }
  }

  public let fit: ModelFit
  /// The form that the figures are about.
  public let form: RouterForm
  /// The file that was written; nil where none was asked for.
  public let output: String?
  public let seconds: Double

  /// Fits, and writes the fit file where one is asked for.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> FitRun {
    let start = ContinuousClock.now
    if let output = request.output {
      try StagedOutput.requireVacant(output, isDirectory: false, overwrite: request.overwrite)
    }
    let model = try Model.open(request.checkpoint, mtp: request.settings.mtp)
    let form = request.form ?? model.defaultForm
    let fitting = try FittingTask(
      model, request, form: form, forms: [form, .lpr, .stock], keepsBiasType: false,
      progress: progress)
    if let output = request.output { progress.warnOfLeftovers(beside: output) }
    let fit = try fitting.run(command: "fit", stateBeside: request.output)
    if let output = request.output {
      try FitFile.write(fit, to: output, overwrite: request.overwrite)
      fitting.discardState()
    }
    return FitRun(
      fit: fit, form: form, output: request.output, seconds: Duration.seconds(since: start))
  }
}

extension ModelFit {
  /// Writes the fit to a file, which serves every copy of the model: the original and all its
  /// quantisations, in both containers.
  public func write(to path: String, overwrite: Bool = false) throws(RegateError) {
    try FitFile.write(self, to: path, overwrite: overwrite)
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
