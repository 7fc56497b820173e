// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
public import Measures
package import Tensors

/// How many tokens each expert of a model gets, from wherever that is known. Whatever needs a load
/// (inspect, place) takes any source.
public struct ExpertLoad: Sendable {
  /// The load of each MoE layer, in their order.
  public let layers: [LoadSummary]
  /// The same of runs of consecutive tokens, [layers][N][E]; nil where only totals are known.
  package let runs: [[[Int]]]?
  /// Where it comes from, in words.
  public let source: String
  /// Tokens that were counted.
  public let tokens: Int
  /// What tokens that are not among `tokens` say of the same layers, to judge a plan by; nil where
  /// that was not asked, where only totals are known, or for want of tokens.
  public let heldOut: HeldOut?

  /// What each file says, where several files of counts were given.
  public let parts: [Part]

  init(
    layers: [LoadSummary], runs: [[[Int]]]?, source: String, tokens: Int, heldOut: HeldOut?,
    parts: [Part] = []
  ) {
    self.layers = layers
    self.runs = runs
    self.source = source
    self.tokens = tokens
    self.heldOut = heldOut
    self.parts = parts
  }

  /// One file's counts.
  public struct Part: Sendable {
    /// The file's name.
    public let name: String
    /// Assignments per expert [layers][E].
    public let load: [[Int]]
    /// Tokens that were counted.
    public let tokens: Int
  }

  /// The load of held-out tokens.
  public struct HeldOut: Sendable {
    /// Assignments per expert [layers][E].
    public let load: [[Int]]
    /// Tokens that were counted.
    public let tokens: Int
  }
}

/// Where a load comes from.
public enum LoadRequest: Sendable, Hashable {
  /// Captures, or text and token ids that the model is run on; all files count together.
  case traffic([String], TokenOptions)
  /// Files of counts, so that nothing is run: llama.cpp's importance matrix, dumps of SGLang's
  /// recorder (.pt), routed experts that vLLM returned (arrays), CSV or JSON of layer, expert and
  /// count. They add up.
  case counts([String])

  /// How exactly the model is run, where it is.
  package var precision: Precision {
    switch self {
    case .traffic(_, let options): options.precision
    case .counts: .auto
    }
  }

  /// Every file that is read.
  package var files: [String] {
    switch self {
    case .traffic(let files, _): files
    case .counts(let files): files
    }
  }
}

/// Something that the load of a model's experts can be taken from.
package protocol LoadSource {
  /// The load of every MoE layer, with max/mean over each of `ranks` expert-parallel rank counts.
  func load(ranks: [Int]) throws(RegateError) -> ExpertLoad
}

extension LoadRequest {
  /// The source, opened and checked against `model`; `holdingOut`: with some of its tokens counted
  /// apart, where it has tokens.
  package func source(
    for model: Model, holdingOut: Bool, threads: Int, progress: any ProgressSink
  ) throws(RegateError) -> any LoadSource {
    switch self {
    case .counts(let paths):
      return try CountsLoad(paths, for: model, holdingOut: holdingOut)
    case .traffic(let files, let options):
      return TrafficLoad(
        model: model,
        traffic: try TrafficSample(
          CalibrationSets(files, tokens: options), for: model, judged: false, progress: progress),
        holdsOut: holdingOut, threads: threads, progress: progress)
    }
  }
}
