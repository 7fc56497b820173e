// SPDX-License-Identifier: Apache-2.0

import Checkpoints
import Fitting
import Foundation
import Inference
import OrderedCollections
import Routing

/// One set of tokens at one layer, under the original's and under a patched router.
struct SetLoad: Sendable, Hashable, Codable {
  /// Assignments per slot [E].
  let original: [Int]
  let patched: [Int]
  /// Mean share of the original's chosen functions that the patched router chose too.
  let overlap: Double
  /// Relative error of the routed experts' output; nil where it is not known.
  let outputError: Double?

  /// The tokens `rows` of two routings; the maps name the function in each slot.
  init(
    _ before: Assignment, map: [Int], patched after: Assignment, patchedMap: [Int], rows: [Int],
    outputError: Double?
  ) {
    let (before, after) = (before.gathering(tokens: rows), after.gathering(tokens: rows))
    original = before.load(experts: map.count)
    patched = after.load(experts: patchedMap.count)
    overlap =
      RoutingAgreement(
        original: before, originalMap: map, patched: after, patchedMap: patchedMap
      ).overlap
    self.outputError = outputError
  }
}

/// What a patched model does to one set of tokens.
struct SetMeasure: Sendable {
  /// Next-token figures over the positions of the set: means in nats, and a share.
  struct Likelihood: Sendable, Hashable, Codable {
    let original: Double
    let patched: Double
    let divergence: Double
    let topAgreement: Double

    var increase: Double { patched - original }

    /// Of the given sequences of `set`, whose scores stand at all positions but the last of each.
    init(_ set: TokenSet, sequences: [Int], original: StreamScores, patched: StreamScores) {
      var starts = [0]
      for sequence in set.sequences {
        starts.append(starts[starts.count - 1] + sequence.count - 1)
      }
      let places = sequences.flatMap { starts[$0]..<starts[$0 + 1] }
      func mean(_ value: (Int) -> Double) -> Double {
        places.reduce(0.0) { $0 + value($1) } / Double(places.count)
      }
      self.original = mean { original.nll[$0] }
      self.patched = mean { patched.nll[$0] }
      divergence = mean { patched.divergence[$0] }
      topAgreement = mean { patched.agrees[$0] ? 1 : 0 }
    }
  }

  let name: String
  let role: SetRole
  /// Its share among the calibration sets; nil for others.
  let share: Double?
  /// Tokens that were measured.
  let tokens: Int
  /// By layer.
  let loads: [SetLoad]
  /// nil for captures.
  let likelihood: Likelihood?

  private func mean(_ figure: (SetLoad) -> Double?) -> Double? {
    LayerStatistics(loads.map(figure), largestIsWorst: true).mean
  }

  var gini: (original: Double?, patched: Double?) {
    (mean { LoadMetrics(load: $0.original).gini }, mean { LoadMetrics(load: $0.patched).gini })
  }

  var minOverMax: (original: Double?, patched: Double?) {
    (
      mean { LoadMetrics(load: $0.original).minOverMax },
      mean { LoadMetrics(load: $0.patched).minOverMax }
    )
  }

  var outputError: Double? { mean(\.outputError) }

  var overlap: Double? { mean(\.overlap) }

  /// The largest layer's sampling floor.
  var samplingFloor: Double? {
    loads.compactMap { LoadMetrics(load: $0.patched).samplingFloor }.max()
  }

  var json: JSONValue {
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

/// A fit's place on the curve of balance against quality, on tokens that it did not see.
struct FitPoint: Sendable, Hashable {
  let strength: Double
  /// Means over layers.
  let gini: Double?
  let minOverMax: Double?
  /// Rise of the mean NLL in nats; nil for captures.
  let lossIncrease: Double?
  /// nil where it is not known.
  let outputError: Double?

  /// What the balance costs: loss where the model was run, else the output error.
  var cost: Double? { lossIncrease ?? outputError }

  var json: JSONValue {
    [
      "strength": .number(strength), "gini": .optional(gini), "min_max": .optional(minOverMax),
      "nll_increase": .optional(lossIncrease), "output_error": .optional(outputError),
    ]
  }
}

extension ModelFit {
  /// All calibration sets together; nil where nothing was held out.
  var point: FitPoint? {
    overall.map {
      FitPoint(
        strength: strength, gini: $0.gini.patched, minOverMax: $0.minOverMax.patched,
        lossIncrease: $0.likelihood?.increase, outputError: $0.outputError)
    }
  }

  /// The same before the fit: strength 0.
  var origin: FitPoint? {
    overall.map {
      FitPoint(
        strength: 0, gini: $0.gini.original, minOverMax: $0.minOverMax.original,
        lossIncrease: $0.likelihood.map { _ in 0 }, outputError: $0.outputError.map { _ in 0 })
    }
  }
}
