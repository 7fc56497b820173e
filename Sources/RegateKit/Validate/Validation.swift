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
  /// One MoE layer on the original's inputs.
  public struct Layer: Sendable {
    public let index: Int
    public let original: LoadSummary
    public let patched: LoadSummary
    public let agreement: RoutingAgreement
    /// Relative error of the routed experts' output; nil where the experts cannot be decoded.
    public let outputError: Double?
    /// Distinct experts that the patched layer holds.
    public let logicalExperts: Int
    /// The same tokens set by set.
    public let sets: [SetLoad]
  }

  /// Next-token figures of the whole model on the same tokens.
  public struct Quality: Sendable {
    /// Mean negative log-likelihood in nats, and its exponential.
    public struct Likelihood: Sendable {
      public let nll: Double
      public let perplexity: Double
    }

    public let original: Likelihood
    public let patched: Likelihood
    /// Mean KL divergence of the next-token distributions, in nats.
    public let divergence: Double
    /// Share of positions with the same most likely token.
    public let topAgreement: Double
    /// Which positions all of this is about, and how many they are.
    public let perplexityProtocol: PerplexityProtocol
    public let positions: Int
  }

  /// What a validation is asked for.
  public struct Request: Sendable {
    public var original: String
    public var patched: String
    /// Captures of the original, or text and token ids that both are run on.
    public var calibration: [String]
    public var tokens: TokenOptions
    public var thresholds: Thresholds
    public var ranks: [Int]
    public var threads: Int
    public var resume: ResumeOptions
    /// Include the layers of multi-token prediction.
    public var mtp: Bool

    public init(
      original: String, patched: String, calibration: [String], tokens: TokenOptions = .init(),
      thresholds: Thresholds = .init(), ranks: [Int] = [], mtp: Bool = false,
      threads: Int = Threads.all,
      resume: ResumeOptions = .init()
    ) {
      self.original = original
      self.patched = patched
      self.calibration = calibration
      self.tokens = tokens
      self.thresholds = thresholds
      self.ranks = ranks
      self.mtp = mtp
      self.threads = threads
      self.resume = resume
    }
  }

  public let original: String
  public let patched: String
  public let layers: [Layer]
  public let tokens: Int
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
  public let warnings: [String]

  public var passed: Bool { checks.allSatisfy(\.met) }

  /// One line per threshold that was not met.
  public var failures: [String] { checks.filter { !$0.met }.map(\.description) }

  /// Compares the two checkpoints.
  public static func run(
    _ request: Request, progress: any ProgressSink = NoProgress()
  ) throws(RegateError) -> Validation {
    let pair = try ModelPair(
      original: request.original, patched: request.patched, mtp: request.mtp)
    try pair.original.requireRanks(request.ranks)
    let traffic = try TrafficSample(
      judging: request.calibration, for: pair.original, options: request.tokens)
    let maps = try pair.expertMaps(threads: request.threads, progress: progress)
    let comparison = try Comparison(pair, maps, traffic, request, progress).run()
    return Validation(
      original: request.original, patched: request.patched, layers: comparison.layers,
      tokens: traffic.tokens, quality: comparison.quality,
      sets: traffic.parts.enumerated().map { place, part in
        SetMeasure(
          name: part.name, role: part.role, share: nil, tokens: part.heldOut.count,
          loads: comparison.layers.map { $0.sets[place] },
          likelihood: comparison.likelihoods.isEmpty ? nil : comparison.likelihoods[place])
      },
      samplingFloor: comparison.layers.compactMap(\.patched.metrics.samplingFloor).max(),
      undecodable: pair.original.layout.undecodable,
      checks: request.thresholds.checks(comparison.layers, comparison.quality),
      warnings: pair.original.warnings)
  }
}
