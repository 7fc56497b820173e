// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
import Checkpoints
public import Forms
import Measures
public import ModelFitting
import Tensors
public import Traffic

/// Balance against quality over strengths, on tokens that no fit saw: what a conversion could give,
/// before one is made.
public struct Sweep: Report {
  /// What a sweep is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// The traffic to fit to.
    public var calibration: CalibrationSets
    /// Above 0 up to 1, ascending.
    public var strengths: [Double]
    /// What the fits may change and how their routers are made.
    public var settings: FitSettings
    /// nil: the container's default.
    public var form: RouterForm?
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      checkpoint: String, calibration: CalibrationSets, strengths: [Double] = Sweep.strengths,
      settings: FitSettings = .init(), form: RouterForm? = nil, threads: Int = Threads.all
    ) {
      self.checkpoint = checkpoint
      self.calibration = calibration
      self.strengths = strengths
      self.settings = settings
      self.form = form
      self.threads = threads
    }
  }

  /// The strengths that a conversion with a budget tries.
  public static var strengths: [Double] { StrengthSearch.candidates }

  /// Path of the checkpoint.
  public let checkpoint: String
  /// The form that the figures are about.
  public let form: RouterForm
  /// One for each strength, in the order asked for.
  public let fits: [ModelFit]
  /// What should be known of the checkpoint before relying on it, one sentence each.
  public let warnings: [String]
  /// Calibration tokens, held-out ones included.
  public let tokens: Int

  /// Fits all strengths side by side in one pass over the weights; nothing is written. `announce`
  /// gets the memory that this needs, in words, before the long work.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress(),
    announce: (String) -> Void = { _ in }
  ) throws(RegateError) -> Sweep {
    guard !request.strengths.isEmpty, request.strengths == request.strengths.sorted(),
      Set(request.strengths).count == request.strengths.count,
      request.strengths.allSatisfy({ $0 > 0 && $0 <= 1 })
    else {
      throw RegateError(
        .refused, subject: "`strengths`", "are \(request.strengths)",
        advice: "give different numbers above 0 up to 1, ascending")
    }
    let model = try Model.open(
      request.checkpoint, mtp: request.settings.mtp,
      precision: request.calibration.tokens.precision)
    let form = request.form ?? model.defaultForm
    let fitting = try FittingTask(
      model,
      FitRun.Request(
        checkpoint: request.checkpoint, calibration: request.calibration,
        settings: request.settings, form: form, threads: request.threads),
      form: form, forms: [form], keepsBiasType: false, judged: true, progress: progress)
    announce(
      try ConversionPlan.Work(
        model, fitting.traffic, settings: request.settings, candidates: request.strengths.count,
        threads: request.threads
      ).memory)
    return Sweep(
      checkpoint: request.checkpoint, form: form,
      fits: try fitting.run(strengths: request.strengths), warnings: model.warnings,
      tokens: fitting.traffic.tokens)
  }

  /// The curve, from strength 0 on.
  public var points: [BalancePoint] {
    (fits.first?.originPoint.map { [$0] } ?? []) + fits.compactMap(\.point)
  }

  /// The knee of the curve; nil where there is none.
  public var knee: BalancePoint? { StrengthSearch.knee(points) }

  /// The fit that pictures and sets are shown of: the knee's, else the strongest.
  var shown: ModelFit? {
    fits.first { $0.strength == knee?.strength } ?? fits.last
  }
}
