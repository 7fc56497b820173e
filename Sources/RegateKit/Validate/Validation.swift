// SPDX-License-Identifier: Apache-2.0
//
// Original against patched, layer by layer, on traffic that the fit did not see.

import Architectures
public import ByteStorage
import Checkpoints
public import Inference
import OrderedCollections
public import Routing
import Tensors
import Traffic

/// How a patched checkpoint compares with its original.
public struct Validation: Report {
  /// The token that a layer's routed experts serve worst.
  public struct TokenError: Sendable, Hashable, Codable {
    /// ||y'_t - y_t|| / ||y_t|| of the routed experts' output.
    public let value: Double
    /// The file that the token is from.
    public let set: String
    /// Number of its sequence there, from 0; nil for captures, whose sequences are not known.
    public let sequence: Int?
    /// Its position in the sequence, or in the capture, from 0.
    public let position: Int

    private enum CodingKeys: String, CodingKey {
      case value = "output_error"
      case set, sequence, position
    }
  }

  /// One MoE layer on the original's inputs.
  public struct Layer: Sendable {
    /// The model's number of the layer.
    public let index: Int
    /// Load under the original's router.
    public let original: LoadSummary
    /// Load under the patched router.
    public let patched: LoadSummary
    /// Agreement of the two routings.
    public let agreement: RoutingAgreement
    /// Relative error of the routed experts' output; nil where the experts cannot be decoded.
    public let outputError: Double?
    /// The token whose own output error is the largest; nil where none has one.
    public let worstToken: TokenError?
    /// Distinct experts that the patched layer holds.
    public let logicalExperts: Int
    /// The same tokens set by set.
    public let sets: [SetLoad]
    /// Batch by batch, for each number of ranks that was asked for.
    public let rankBatches: [RankFigures]
  }

  /// Next-token figures of the whole model on the same tokens.
  public struct Quality: Sendable {
    /// Mean negative log-likelihood in nats, and its exponential.
    public struct Likelihood: Sendable {
      /// In nats.
      public let nll: Double
      /// exp(`nll`).
      public let perplexity: Double
    }

    /// Of the original.
    public let original: Likelihood
    /// Of the patched model.
    public let patched: Likelihood
    /// Mean KL divergence of the next-token distributions, in nats.
    public let divergence: Double
    /// Share of positions with the same most likely token.
    public let topAgreement: Double
    /// Which positions all of this is about, and how many they are.
    public let perplexityProtocol: PerplexityProtocol
    /// How many positions were counted.
    public let positions: Int
  }

  /// What a validation is asked for.
  public struct Request: Sendable {
    /// The checkpoint that the patched one was made from.
    public var original: String
    /// The patched checkpoint.
    public var patched: String
    /// Captures of the original, or text and token ids that both are run on.
    public var calibration: [String]
    /// How text becomes sequences.
    public var tokens: TokenOptions
    /// Limits that decide whether the validation passes.
    public var thresholds: Thresholds
    /// Expert-parallel rank counts to report imbalance for.
    public var ranks: [Int]
    /// Tokens of the batches that it is reported for, those of all ranks together.
    public var batches: [Int]
    /// Threads to work on; the result does not depend on it.
    public var threads: Int
    /// On text and token ids, where the model is run.
    public var resume: ResumeOptions
    /// Include the layers of multi-token prediction.
    public var mtp: Bool

    public init(
      original: String, patched: String, calibration: [String], tokens: TokenOptions = .init(),
      thresholds: Thresholds = .init(), ranks: [Int] = [],
      batches: [Int] = RankBatches.standardSizes, mtp: Bool = false,
      threads: Int = Threads.all, resume: ResumeOptions = .init()
    ) {
      self.original = original
      self.patched = patched
      self.calibration = calibration
      self.tokens = tokens
      self.thresholds = thresholds
      self.ranks = ranks
      self.batches = batches
      self.mtp = mtp
      self.threads = threads
      self.resume = resume
    }
  }

  /// Path of the original.
  public let original: String
  /// Path of the patched checkpoint.
  public let patched: String
  /// The MoE layers, in their order.
  public let layers: [Layer]
  /// Tokens of the batches that were asked for.
  let batches: [Int]
  /// Tokens that were judged on.
  public let tokens: Int
  /// What the models are, or were, run in: float32, bfloat16, int8; nil where captures do not say.
  public let precision: String?
  /// Next-token figures of both; nil where only captures were given.
  public let quality: Quality?
  /// Each file of the calibration as a set of its own.
  public let sets: [SetMeasure]
  /// 1/sqrt(pi lambda), the Gini that perfect balance shows on so many tokens; the largest layer's.
  public let samplingFloor: Double?
  /// Why there is no output error; nil if there is.
  public let undecodable: String?
  /// The thresholds that were set, with what was found.
  public let checks: [Check]
  /// What should be known of the two before relying on them, one sentence each.
  public let warnings: [String]

  /// Whether every threshold that was set is met.
  public var passed: Bool { checks.allSatisfy(\.met) }

  /// One line per threshold that was not met.
  public var failures: [String] { checks.filter { !$0.met }.map(\.description) }

  /// Compares the two checkpoints.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> Validation {
    let pair = try ModelPair(
      original: request.original, patched: request.patched, mtp: request.mtp,
      precision: request.tokens.precision)
    for model in [pair.original, pair.patched] { try model.requireRanks(request.ranks) }
    try RankBatches.requireSizes(request.batches)
    let traffic = try TrafficSample(
      judging: request.calibration, for: pair.original, options: request.tokens, progress: progress)
    if !traffic.calibration.isRun { try request.requireFitForCaptures() }
    try pair.requireSameRest(progress: progress)
    let maps = try pair.expertMaps(threads: request.threads, progress: progress)
    let comparison = try Comparison(pair, maps, traffic, request, progress).run()
    return Validation(
      original: request.original, patched: request.patched, layers: comparison.layers,
      batches: request.batches, tokens: traffic.tokens,
      precision: traffic.calibration.precision, quality: comparison.quality,
      sets: traffic.parts.enumerated().map { place, part in
        SetMeasure(
          name: part.name, role: part.role, share: nil, tokens: part.heldOut.count,
          loads: comparison.layers.map { $0.sets[place] },
          likelihood: comparison.likelihoods.isEmpty ? nil : comparison.likelihoods[place])
      },
      samplingFloor: comparison.layers.compactMap(\.patched.metrics.samplingFloor).max(),
      undecodable: pair.original.layout.undecodable,
      checks: request.thresholds.checks(comparison.layers, comparison.quality),
      warnings: pair.warnings)
  }
}
