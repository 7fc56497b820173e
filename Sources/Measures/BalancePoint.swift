// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import OrderedCollections

/// A fit's place on the curve of balance against quality, on tokens that it did not see.
public struct BalancePoint: Sendable, Hashable, JSONRepresentable {
  /// 0 changes nothing, 1 asks for uniform load.
  public let strength: Double
  /// Means over layers.
  public let gini: Double?
  /// Least over most used expert; nil where no token was counted.
  public let minOverMax: Double?
  /// Rise of the mean NLL in nats; nil for captures.
  public let lossIncrease: Double?
  /// nil where it is not known.
  public let outputError: Double?

  package init(
    strength: Double, gini: Double?, minOverMax: Double?, lossIncrease: Double?,
    outputError: Double?
  ) {
    self.strength = strength
    self.gini = gini
    self.minOverMax = minOverMax
    self.lossIncrease = lossIncrease
    self.outputError = outputError
  }

  /// What the balance costs: loss where the model was run, else the output error.
  public var cost: Double? { lossIncrease ?? outputError }

  /// The point as one JSON object.
  public var json: JSONValue {
    [
      "strength": .number(strength), "gini": .optional(gini), "min_max": .optional(minOverMax),
      "nll_increase": .optional(lossIncrease), "output_error": .optional(outputError),
    ]
  }
}
