// SPDX-License-Identifier: Apache-2.0
//
// Original against patched, layer by layer, on captured activations that the fit did not see: both
// routers read the original's inputs.

import Architectures
public import ByteStorage
import Checkpoints
public import Inference
import OrderedCollections
public import Routing
import Tensors

/// How a patched checkpoint compares with its original.
public struct Validation: Sendable {
  /// One MoE layer on the original's inputs.
  public struct Layer: Sendable {
    public let index: Int
    public let original: LoadSummary
    public let patched: LoadSummary
    public let agreement: RoutingAgreement
    /// Relative error of the routed experts' output; nil where the experts cannot be decoded.
    public let outputError: Double?
    /// Distinct experts that the patched layer holds.
    public let functions: Int
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

    public init(
      original: String, patched: String, calibration: [String], tokens: TokenOptions = .init(),
      thresholds: Thresholds = .init(), ranks: [Int] = [], threads: Int,
      resume: ResumeOptions = .init()
    ) {
      self.original = original
      self.patched = patched
      self.calibration = calibration
      self.tokens = tokens
      self.thresholds = thresholds
      self.ranks = ranks
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
    _ request: Request, progress: any ProgressSink
  ) throws(RegateError) -> Validation {
    let pair = try ModelPair(original: request.original, patched: request.patched)
    let calibration = try Calibration(
      request.calibration, for: pair.original, options: request.tokens)
    let maps = try pair.functionMaps(threads: request.threads, progress: progress)
    var layers: [Layer] = []
    var quality: Quality?
    switch calibration {
    case .captures(let captures):
      let experts = pair.layers.reduce(0) { $0 + $1.0.rule.experts }
      progress.begin("Validating", total: experts)
      for ((original, patched), map) in zip(pair.layers, maps) {
        layers.append(
          try compare(
            original, patched, map: map, in: pair, captures: captures, request: request,
            progress: progress))
      }
    case .tokens(let tokens):
      (layers, quality) = try run(pair, maps, tokens, request, progress)
    }
    progress.end()
    return Validation(
      original: request.original, patched: request.patched, layers: layers,
      tokens: calibration.tokens, quality: quality,
      samplingFloor: layers.compactMap(\.patched.metrics.samplingFloor).max(),
      undecodable: pair.original.layout.undecodable,
      checks: request.thresholds.checks(layers, quality), warnings: pair.original.warnings)
  }

  private static func compare(
    _ original: MoELayer, _ patched: MoELayer, map: ModelPair.FunctionMap, in pair: ModelPair,
    captures: Captures, request: Request, progress: any ProgressSink
  ) throws(RegateError) -> Layer {
    let inputs = try captures.inputs(layer: original.index)
    let before = try pair.original.router(of: original).router
      .route(inputs, threads: request.threads)
    let after = try pair.patched.router(of: patched).router.route(inputs, threads: request.threads)
    let experts = original.rule.experts
    var error: Double?
    if pair.original.layout.undecodable == nil {
      error = try OutputError.relative(
        inputs: inputs, original: before, originalMap: map.original, patched: after,
        patchedMap: map.patched,
        pass: pair.original.expertPass(of: original, threads: request.threads, progress: progress))
    } else {
      progress.advance(experts)
    }
    return Layer(
      index: original.index,
      original: LoadSummary(before, experts: experts, ranks: request.ranks),
      patched: LoadSummary(after, experts: experts, ranks: request.ranks),
      agreement: RoutingAgreement(
        original: before, originalMap: map.original, patched: after, patchedMap: map.patched),
      outputError: error, functions: Set(map.patched).count)
  }
}
