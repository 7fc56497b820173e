// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
public import Measures

/// How many tokens each expert of a model gets, from wherever that is known. Whatever needs a load
/// (inspect, place) takes any source.
public struct ExpertLoad: Sendable {
  /// The load of each MoE layer, in their order.
  public let layers: [LoadSummary]
  /// Where it comes from, in words.
  public let source: String
  /// Tokens that were counted.
  public let tokens: Int
  /// What tokens that are not among `tokens` say of the same layers, to judge a plan by; nil where
  /// that was not asked, where only totals are known, or for want of tokens.
  public let heldOut: HeldOut?

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
  /// llama.cpp's importance matrix, which holds exact counts.
  case imatrix(String)

  /// Every file that is read.
  package var files: [String] {
    switch self {
    case .traffic(let files, _): files
    case .imatrix(let file): [file]
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
    case .imatrix(let path): return try ImatrixLoad(path: path, layout: model.layout)
    case .traffic(let files, let options):
      return TrafficLoad(
        model: model,
        traffic: try TrafficSample(
          CalibrationSets(files, tokens: options), for: model, judged: false, progress: progress),
        holdsOut: holdingOut, threads: threads, progress: progress)
    }
  }
}
