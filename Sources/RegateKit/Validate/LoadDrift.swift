// SPDX-License-Identifier: Apache-2.0
//
// Two trainings of one model beside each other: each runs with its own weights, in step with the
// other, layer by layer, so that where both send a token can be compared.

import Architectures
public import ByteStorage
import CheckpointWriting
import Checkpoints
public import Measures
import OrderedCollections
public import Routing
import Traffic

/// How the load of a fine-tuned checkpoint's experts has moved from that of its base.
public struct LoadDrift: Report {
  /// One MoE layer.
  public struct Layer: Sendable {
    /// The model's number of the layer.
    public let index: Int
    /// Load under the original.
    public let original: LoadSummary
    /// Load under the other checkpoint.
    public let other: LoadSummary
    /// Agreement of where both send each token.
    public let agreement: RoutingAgreement
  }

  /// Mean negative log-likelihood of the next token, in nats.
  public struct Likelihood: Sendable, Hashable {
    /// Of the original.
    public let original: Double
    /// Of the other checkpoint.
    public let other: Double
  }

  /// What is asked for.
  public struct Request: Sendable {
    /// The checkpoint to compare with, such as the base of a fine-tuned one.
    public var original: String
    /// Another training of the same model, whose experts have the same numbers.
    public var other: String
    /// Captures of the original, or text and token ids that both are run on.
    public var calibration: [String]
    /// How text becomes sequences.
    public var tokens: TokenOptions
    /// Expert-parallel rank counts to report imbalance for.
    public var ranks: [Int]
    /// Include the layers of multi-token prediction.
    public var mtp: Bool
    /// Threads to work on; the result does not depend on it.
    public var threads: Int

    public init(
      original: String, other: String, calibration: [String], tokens: TokenOptions = .init(),
      ranks: [Int] = [], mtp: Bool = false, threads: Int = Threads.all
    ) {
      self.original = original
      self.other = other
      self.calibration = calibration
      self.tokens = tokens
      self.ranks = ranks
      self.mtp = mtp
      self.threads = threads
    }
  }

  /// Path of the original.
  public let original: String
  /// Path of the other checkpoint.
  public let other: String
  /// The MoE layers, in their order.
  public let layers: [Layer]
  /// The two loads beside each other, layer by layer and expert by expert.
  public let comparison: LoadComparison
  /// Tokens that were counted.
  public let tokens: Int
  /// What the models are, or were, run in: float32, bfloat16, int8; nil where captures do not say.
  public let precision: String?
  /// nil on captures: both routers read what the original's read.
  public let likelihood: Likelihood?
  /// What should be known of the original before relying on it, one sentence each.
  public let warnings: [String]

  /// Compares the two checkpoints.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> LoadDrift {
    let pair = try ModelPair(
      original: request.original, patched: request.other, mtp: request.mtp,
      precision: request.tokens.precision)
    try pair.requireNumbering()
    try pair.original.requireRanks(request.ranks)
    let traffic = try TrafficSample(
      judging: request.calibration, for: pair.original, options: request.tokens, progress: progress)
    let (layers, likelihood) = try DriftWalk(pair, traffic, request, progress).run()
    return LoadDrift(
      original: request.original, other: request.other, layers: layers,
      comparison: LoadComparison(
        names: [request.original, request.other],
        loads: [layers.map(\.original.load), layers.map(\.other.load)],
        indices: layers.map(\.index)),
      tokens: traffic.tokens, precision: traffic.calibration.precision, likelihood: likelihood,
      warnings: pair.original.warnings)
  }
}

extension ModelPair {
  /// Loads are compared by the numbers of experts, which mean nothing where Regate moved some.
  fileprivate func requireNumbering() throws(RegateError) {
    for model in [original, patched] {
      guard let moved = Manifest.movedExperts(of: model) else { continue }
      throw RegateError(
        .refused, file: model.checkpoint.path, subject: "regate.json",
        "says that it has \(moved): its experts are not those of another training by number",
        advice: "compare the checkpoint that it was made from, or it with that one by `Validation`")
    }
  }
}
