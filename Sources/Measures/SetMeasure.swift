// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import Foundation
package import Inference
import OrderedCollections
public import Routing

/// What a set of tokens is for.
public enum SetRole: String, Sendable, Codable, CaseIterable {
  /// Fitted to, but for a part that judges the fit.
  case calibration
  /// Not balanced, but its experts are never pruned.
  case protected
  /// Judges a finished model.
  case validation
}

/// One set of tokens at one layer, under the original's and under a patched router.
public struct SetLoad: Sendable, Hashable, Codable {
  /// Assignments per physical expert [E].
  public let original: [Int]
  /// The same under the patched router [E].
  public let patched: [Int]
  /// Agreement of the two routings.
  public let agreement: RoutingAgreement
  /// Relative error of the routed experts' output; nil where it is not known.
  public let outputError: Double?

  private enum CodingKeys: String, CodingKey {
    case original, patched, agreement
    case outputError = "output_error"
  }

  /// The tokens `rows` of two routings; the maps name the logical expert of each physical one.
  package init(
    _ before: Assignment, map: [Int], patched after: Assignment, patchedMap: [Int], rows: [Int],
    outputError: Double?
  ) {
    let (before, after) = (before.gathering(tokens: rows), after.gathering(tokens: rows))
    original = before.load(experts: map.count)
    patched = after.load(experts: patchedMap.count)
    agreement = RoutingAgreement(
      original: before, originalMap: map, patched: after, patchedMap: patchedMap)
    self.outputError = outputError
  }
}

/// What a patched model does to one set of tokens.
public struct SetMeasure: Sendable, JSONRepresentable {
  /// Next-token figures over the positions of the set: means in nats, and a share.
  public struct Likelihood: Sendable, Hashable, Codable {
    /// Mean NLL of the original.
    public let original: Double
    /// Mean NLL of the patched model.
    public let patched: Double
    /// Mean KL divergence of the patched from the original's next-token distributions.
    public let divergence: Double
    /// Share of positions with the same most likely token.
    public let topAgreement: Double

    private enum CodingKeys: String, CodingKey {
      case original = "original_nll"
      case patched = "patched_nll"
      case divergence = "kl"
      case topAgreement = "top1_agreement"
    }

    /// Rise of the mean NLL.
    public var increase: Double { patched - original }

    /// Of the given sequences of a text whose sequences have `lengths`, and whose scores stand at
    /// all positions but the last of each. Nil without a sequence.
    package init?(
      lengths: [Int], sequences: [Int], original: StreamScores, patched: StreamScores
    ) {
      var starts = [0]
      for length in lengths { starts.append(starts[starts.count - 1] + length - 1) }
      let places = sequences.flatMap { starts[$0]..<starts[$0 + 1] }
      guard !places.isEmpty else { return nil }
      func mean(_ value: (Int) -> Double) -> Double {
        places.reduce(0.0) { $0 + value($1) } / Double(places.count)
      }
      self.original = mean { original.nll[$0] }
      self.patched = mean { patched.nll[$0] }
      divergence = mean { patched.divergence[$0] }
      topAgreement = mean { patched.agrees[$0] ? 1 : 0 }
    }
  }

  /// File name; of several files that are one set, all of them.
  public let name: String
  /// What the set is for.
  public let role: SetRole
  /// Its share among the calibration sets; nil for others.
  public let share: Double?
  /// Tokens that were measured.
  public let tokens: Int
  /// By layer.
  public let loads: [SetLoad]
  /// nil for captures.
  public let likelihood: Likelihood?

  package init(
    name: String, role: SetRole, share: Double?, tokens: Int, loads: [SetLoad],
    likelihood: Likelihood?
  ) {
    self.name = name
    self.role = role
    self.share = share
    self.tokens = tokens
    self.loads = loads
    self.likelihood = likelihood
  }

  private func mean(_ figure: (SetLoad) -> Double?) -> Double? {
    LayerStatistics(loads.map(figure), largestIsWorst: true).mean
  }

  /// Means over layers.
  public var gini: (original: Double?, patched: Double?) {
    (mean { LoadMetrics(load: $0.original).gini }, mean { LoadMetrics(load: $0.patched).gini })
  }

  /// Means over layers of least over most used expert.
  public var minOverMax: (original: Double?, patched: Double?) {
    (
      mean { LoadMetrics(load: $0.original).minOverMax },
      mean { LoadMetrics(load: $0.patched).minOverMax }
    )
  }

  /// Mean over layers of the relative error of the routed experts' output.
  public var outputError: Double? { mean(\.outputError) }

  /// Mean over layers of the share of chosen logical experts that stayed.
  public var overlap: Double? { mean(\.agreement.overlap) }

  /// The largest layer's sampling floor.
  public var samplingFloor: Double? {
    loads.compactMap { LoadMetrics(load: $0.patched).samplingFloor }.max()
  }

  /// The figures as one JSON object, those of layers as means.
  public var json: JSONValue {
    [
      "name": .string(name), "role": .string(role.rawValue),
      "share": .optional(share), "tokens": .integer(tokens),
      "original": [
        "gini": .optional(gini.original), "min_max": .optional(minOverMax.original),
      ],
      "patched": ["gini": .optional(gini.patched), "min_max": .optional(minOverMax.patched)],
      "overlap": .optional(overlap),
      "nll": [
        "original": .optional(likelihood?.original), "patched": .optional(likelihood?.patched),
      ],
      "perplexity": [
        "original": .optional(likelihood.map { exp($0.original) }),
        "patched": .optional(likelihood.map { exp($0.patched) }),
      ],
      "kl": .optional(likelihood?.divergence),
      "top1_agreement": .optional(likelihood?.topAgreement),
      "output_error": .optional(outputError), "sampling_floor": .optional(samplingFloor),
    ]
  }
}
