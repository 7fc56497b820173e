// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
public import CheckpointWriting
import Checkpoints
public import Forms
public import ModelFitting
public import Resuming
import Routing
import Runtimes
import Tensors
public import Traffic

/// Gives a checkpoint balanced routers.
public struct Conversion: Report {
  /// Where the routers come from.
  public enum Source: Sendable {
    /// They are fitted to traffic. The state of a long run lies beside the output, in place beside
    /// the checkpoint.
    case traffic(
      CalibrationSets, budget: Budget = .strength(1), settings: FitSettings = .init(),
      resume: ResumeOptions = .init())
    /// A fit file.
    case file(String)
    /// A fit that was made before.
    case fit(ModelFit)

    /// What a fit is asked for; nil where one is taken.
    var budget: Budget? { if case .traffic(_, let budget, _, _) = self { budget } else { nil } }

    /// Every file that is read.
    var files: [String] {
      switch self {
      case .traffic(let sets, _, _, _): sets.allFiles
      case .file(let path): [path]
      case .fit: []
      }
    }
  }

  /// What is written.
  public enum Output: Sendable, Hashable {
    case checkpoint(Sink)
    /// A GGUF LoRA adapter that holds the gates only, so that no expert is copied; rank nil: exact.
    /// `overwrite` replaces a file.
    case adapter(to: String, rank: Int? = nil, overwrite: Bool = false)
  }

  /// What a conversion is asked for.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// Where the routers come from.
    public var source: Source
    /// What is written.
    public var output: Output
    /// nil: `lpr` for a copy or delta of safetensors, `stock` for everything else.
    public var form: RouterForm?
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      checkpoint: String, source: Source, output: Output, form: RouterForm? = nil,
      threads: Int = Threads.all
    ) {
      self.checkpoint = checkpoint
      self.source = source
      self.output = output
      self.form = form
      self.threads = threads
    }
  }

  /// What was to be written and needed.
  public let plan: ConversionPlan
  /// The routers, and what is known of them.
  public let fit: ModelFit
  /// The form that was written.
  public let form: RouterForm
  /// Whether the fit was made in this run.
  let isNewFit: Bool
  /// nil for an adapter.
  public let written: Written?
  /// nil for a checkpoint.
  public let adapter: AdapterSummary?
  /// Wall-clock seconds.
  public let seconds: Double

  /// Fits, or takes the fit, and writes the output.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> Conversion {
    try prepare(request, progress: progress).run()
  }

  /// Opens the checkpoint and the traffic, and refuses before any long work what cannot be done.
  public static func prepare(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> PreparedConversion {
    try PreparedConversion(
      ConversionPlan.Request(
        checkpoint: request.checkpoint, source: request.source, output: request.output,
        form: request.form, threads: request.threads),
      progress: progress)
  }
}
