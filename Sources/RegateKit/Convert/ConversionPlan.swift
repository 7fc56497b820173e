// SPDX-License-Identifier: Apache-2.0
//
// What a conversion will write and need, told from headers alone (and the texts' tokens).

import Architectures
public import ByteStorage
import Checkpoints
import Fitting
public import Forms
import Inference
import ModelFitting
import OrderedCollections
import Reports
import Routing
public import Runtimes
import Tensors
import Traffic

/// A conversion before it is run.
public struct ConversionPlan: Report {
  /// What is to be planned: a conversion of which some things may still be open.
  public struct Request: Sendable {
    /// A directory, or a .safetensors or (first) .gguf file.
    public var checkpoint: String
    /// nil: nothing is said of the fit.
    public var source: Conversion.Source?
    /// nil: whatever form and container write.
    public var output: Conversion.Output?
    /// nil: `lpr` for a copy or delta of safetensors, `stock` for everything else.
    public var form: RouterForm?
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      checkpoint: String, source: Conversion.Source? = nil, output: Conversion.Output? = nil,
      form: RouterForm? = nil, threads: Int = Threads.all
    ) {
      self.checkpoint = checkpoint
      self.source = source
      self.output = output
      self.form = form
      self.threads = threads
    }
  }

  /// What a conversion will write and need. Nothing is written, and nothing is fitted but a few
  /// tokens in its first layers, which tells how long all of it takes.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> ConversionPlan {
    try PreparedConversion(request, progress: progress).timedPlan()
  }

  /// One MoE layer's share.
  public struct Layer: Sendable, Hashable {
    /// The model's number of the layer.
    public let index: Int
    /// Names of the router tensors that change or go.
    public let tensors: [String]
    /// Bytes of those tensors.
    public let routerBytes: Int
    /// Bytes of everything that belongs to one expert.
    public let expertBytes: Int
    /// Physical experts that clones can take at most: a token needs K distinct ones.
    public let cloneLimit: Int
  }

  /// What the fit needs; nil where a fit is taken that was made before.
  public struct Work: Sendable {
    /// Calibration tokens.
    public let tokens: Int
    /// Strengths that are fitted side by side.
    public let candidates: Int
    /// Estimated peak of resident memory, mapped files aside.
    public let memoryBytes: Int
    /// Estimated from trials on this machine; nil where none was made.
    public internal(set) var time: Time?
    /// Hidden states, which the kept state of a run also takes on the disk; nil for captures.
    public let hiddenStateBytes: Int?
  }

  /// How long a conversion takes, in seconds.
  public struct Time: Sendable, Hashable {
    /// The fit, with running the model where that is done.
    public let fitting: Double
    /// Copying the checkpoint; 0 for what is no copy.
    public let writing: Double
  }

  /// Path of the original.
  public let checkpoint: String
  let layout: ModelLayout
  /// The family's name, as in `config.json` or the GGUF's architecture.
  public var family: String { layout.family.name }
  /// safetensors or gguf.
  public var container: String { layout.container.rawValue }
  /// The form that is written.
  public let form: RouterForm
  /// Whether hot experts may be copied over hardly used ones.
  public let clones: Bool
  /// Experts that are left out of each layer; nil where all stay.
  public let pruned: Int?
  /// What runtimes will make of the output.
  public let check: Check
  /// The MoE layers, in their order.
  public let layers: [Layer]
  /// Gates of multi-token prediction that do not change, by name.
  public var leftAlone: [String] { layout.extraRouters.map(\.gate.name) }
  /// Bytes of the whole checkpoint, and of a copy.
  public let outputBytes: Int
  /// nil where nothing is fitted.
  public internal(set) var work: Work?
  /// Whether a fit is taken that was made before.
  let takesFit: Bool
  /// nil: a copy, or still open.
  let output: Conversion.Output?

  /// Whether the output has no files of its own, which other forms need, or the model no others.
  private let onlyStock: Bool

  init(
    model: Model, form: RouterForm, check: Check, clones: Bool, pruned: Int?, work: Work?,
    takesFit: Bool, output: Conversion.Output?
  ) {
    checkpoint = model.checkpoint.path
    layout = model.layout
    self.form = form
    self.clones = clones
    self.pruned = pruned
    self.check = check
    self.work = work
    self.takesFit = takesFit
    self.output = output
    onlyStock =
      !model.canBePrototype || output.map { $0.isInPlace || $0.isAdapter } ?? false
    layers = model.layout.layers.map { layer in
      Layer(
        index: layer.index, tensors: layer.routerTensors.map(\.name),
        routerBytes: layer.routerTensors.reduce(0) { $0 + $1.range.count },
        expertBytes: layer.experts.reduce(0) { $0 + $1.slice(expert: 0).bytes.count },
        cloneLimit: clones ? layer.rule.experts - layer.rule.topK : 0)
    }
    let left = layers.reduce(0) { $0 + $1.expertBytes } * (pruned ?? 0)
    outputBytes = model.checkpoint.files.reduce(0) { $0 + $1.count } - left
  }

  /// The form that is written, what loads it, and how to choose another.
  package var headline: String { form.output.headline(layout.container, onlyStock: onlyStock) }

  /// What is said before the work begins: the form, and the memory that several candidates need.
  package var introduction: String {
    guard let work, work.candidates > 1 else { return headline }
    return headline + "\n" + work.memory
  }
}

extension ConversionPlan.Work {
  init(
    _ model: Model, _ traffic: TrafficSample, settings: FitSettings, candidates: Int, threads: Int
  ) throws(RegateError) {
    var run: RunEstimate?
    if case .tokens(let set) = traffic.calibration {
      run = try RunEstimate(set, streams: candidates + 1, threads: threads)
    }
    let layout = model.layout
    let tokens = traffic.tokens
    self.tokens = tokens
    self.candidates = candidates
    let fit = Self.fitMemory(layout, settings, tokens: tokens, threads: threads)
    // A layer runs before it is fitted and after, never meanwhile; sampled experts stay.
    memoryBytes =
      RunEstimate.processBytes + (run?.stateBytes ?? 0) + max(fit, run?.layerBytes ?? 0)
      + (settings.clones ? LayerExperts.keptBytes(in: model) : 0)
    hiddenStateBytes = run?.hiddenBytes
  }

  /// The largest layer's inputs, twice while the fitted part is taken out, a few matrices of tokens
  /// x experts, and one decoded expert per thread.
  private static func fitMemory(
    _ layout: ModelLayout, _ settings: FitSettings, tokens: Int, threads: Int
  ) -> Int {
    layout.layers.map { layer in
      let inputs = 2 * tokens * layer.hiddenSize
      let scores = 8 * tokens * layer.rule.experts
      let expert =
        layout.undecodable == nil && settings.clones
        ? threads * (3 * layer.expertWidth + OutputSketch.sampleTokens) * layer.hiddenSize
        : 0
      return 4 * (inputs + scores + expert)
    }.max() ?? 0
  }

  /// The memory in words.
  package var memory: String {
    let streams = candidates > 1 ? ", \(candidates) fits side by side" : ""
    return "Memory: about \(Format.bytes(memoryBytes)) for \(Format.count(tokens)) calibration "
      + "tokens\(streams), mapped files aside."
  }
}
