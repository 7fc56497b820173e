// SPDX-License-Identifier: Apache-2.0

import Measures
import Reports
import Routing

extension Validation {
  /// Limits that decide whether a validation passes; nil means no limit.
  public struct Thresholds: Sendable {
    /// On the mean Gini over layers.
    public var maxGini: Double?
    /// On the worst layer's Gini.
    public var maxLayerGini: Double?
    /// On the mean min/max over layers.
    public var minRatio: Double?
    /// On the mean output error over layers.
    public var maxOutputError: Double?
    /// On the relative increase of the perplexity, 0.01 for one percent.
    public var maxPerplexityIncrease: Double?

    public init(
      maxGini: Double? = nil, maxLayerGini: Double? = nil, minRatio: Double? = nil,
      maxOutputError: Double? = nil, maxPerplexityIncrease: Double? = nil
    ) {
      self.maxGini = maxGini
      self.maxLayerGini = maxLayerGini
      self.minRatio = minRatio
      self.maxOutputError = maxOutputError
      self.maxPerplexityIncrease = maxPerplexityIncrease
    }
  }

  /// One threshold and what was found.
  public struct Check: Sendable, Hashable, CustomStringConvertible {
    /// What is limited, in words.
    public let name: String
    /// What was found; nil where it is undefined, which meets no limit.
    public let value: Double?
    /// What was allowed.
    public let limit: Double
    /// The value must not be above the limit; false: not below it.
    public let isUpper: Bool

    /// Whether the value keeps within the limit.
    public var met: Bool {
      guard let value else { return false }
      return isUpper ? value <= limit : value >= limit
    }

    public var description: String {
      guard let value else { return "\(name) is undefined, but a limit of \(limit) was set" }
      let place = met ? "within" : isUpper ? "above" : "below"
      return "\(name) is \(Format.number(value, decimals: 6)), \(place) the limit of \(limit)"
    }
  }
}

extension Validation.Thresholds {
  /// One check for each limit that is set.
  func checks(
    _ layers: [Validation.Layer], _ quality: Validation.Quality?
  ) -> [Validation.Check] {
    func mean(_ values: [Double?]) -> Double? {
      LayerStatistics(values, largestIsWorst: true).mean
    }
    let ginis = layers.map(\.patched.metrics.gini)
    let limits: [(String, Double?, Double?, isUpper: Bool)] = [
      ("mean Gini", mean(ginis), maxGini, true),
      ("worst layer's Gini", ginis.compactMap { $0 }.max(), maxLayerGini, true),
      ("mean min/max", mean(layers.map(\.patched.metrics.minOverMax)), minRatio, false),
      ("mean output error", mean(layers.map(\.outputError)), maxOutputError, true),
      (
        "perplexity increase", quality.map { $0.patched.perplexity / $0.original.perplexity - 1 },
        maxPerplexityIncrease, true
      ),
    ]
    return limits.compactMap { name, value, limit, isUpper in
      limit.map { Validation.Check(name: name, value: value, limit: $0, isUpper: isUpper) }
    }
  }
}
