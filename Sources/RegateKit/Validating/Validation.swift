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
    /// The same tokens set by set.
    let sets: [SetLoad]
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
    public var mtp = false

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
  /// Each file of the calibration as a set of its own.
  let sets: [SetMeasure]
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
    let pair = try ModelPair(
      original: request.original, patched: request.patched, mtp: request.mtp)
    let mix = try CalibrationMix(
      judging: request.calibration, for: pair.original, options: request.tokens)
    let maps = try pair.functionMaps(threads: request.threads, progress: progress)
    var layers: [Layer] = []
    var quality: Quality?
    var likelihoods: [SetMeasure.Likelihood] = []
    switch mix.calibration {
    case .captures(let captures):
      let experts = pair.layers.reduce(0) { $0 + $1.0.rule.experts }
      progress.begin("Validating", total: experts)
      for ((original, patched), map) in zip(pair.layers, maps) {
        layers.append(
          try compare(
            original, patched, map: map, in: pair, captures: captures, mix: mix,
            request: request, progress: progress))
      }
    case .tokens(let tokens):
      (layers, quality, likelihoods) = try run(pair, maps, tokens, mix, request, progress)
    }
    progress.end()
    return Validation(
      original: request.original, patched: request.patched, layers: layers,
      tokens: mix.tokens, quality: quality,
      sets: mix.parts.enumerated().map { place, part in
        SetMeasure(
          name: part.name, role: part.role, share: nil, tokens: part.measured.count,
          loads: layers.map { $0.sets[place] },
          likelihood: likelihoods.isEmpty ? nil : likelihoods[place])
      },
      samplingFloor: layers.compactMap(\.patched.metrics.samplingFloor).max(),
      undecodable: pair.original.layout.undecodable,
      checks: request.thresholds.checks(layers, quality), warnings: pair.original.warnings)
  }

  private static func compare(
    _ original: MoELayer, _ patched: MoELayer, map: ModelPair.FunctionMap, in pair: ModelPair,
    captures: Captures, mix: CalibrationMix, request: Request, progress: any ProgressSink
  ) throws(RegateError) -> Layer {
    let inputs = try captures.inputs(layer: original.index)
    let before = try pair.original.router(of: original).router
      .route(inputs, threads: request.threads)
    let after = try pair.patched.router(of: patched).router.route(inputs, threads: request.threads)
    let experts = original.rule.experts
    var errors = [Double?](repeating: nil, count: mix.parts.count + 1)
    if pair.original.layout.undecodable == nil {
      errors = try OutputError.relative(
        inputs: inputs, original: .init(assignment: before, map: map.original),
        candidates: [.init(assignment: after, map: map.patched)],
        groups: [nil] + mix.parts.map(\.measured),
        pass: pair.original.expertPass(
          of: original, threads: request.threads, progress: { progress.advance(1) })
      )[0]
    } else {
      progress.advance(experts)
    }
    return Layer(
      index: original.index,
      original: LoadSummary(before, experts: experts, ranks: request.ranks),
      patched: LoadSummary(after, experts: experts, ranks: request.ranks),
      agreement: RoutingAgreement(
        original: before, originalMap: map.original, patched: after, patchedMap: map.patched),
      outputError: errors[0], functions: Set(map.patched).count,
      sets: mix.parts.enumerated().map { place, part in
        SetLoad(
          before, map: map.original, patched: after, patchedMap: map.patched, rows: part.measured,
          outputError: errors[place + 1])
      })
  }
}
