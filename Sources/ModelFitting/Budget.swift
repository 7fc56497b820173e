// SPDX-License-Identifier: Apache-2.0

package import Checkpoints

/// How much balance.
public enum Budget: Sendable, Hashable {
  /// 0 changes nothing, 1 asks for uniform load; below 0, down to -1, for the opposite: fewer
  /// distinct experts for the same tokens.
  case strength(Double)
  /// The least strength that brings the mean Gini of held-out tokens down to this.
  case targetGini(Double)
  /// The most balance at which the mean NLL of held-out tokens rises by no more, in nats.
  case maxLossIncrease(Double)
  /// The most balance at which the mean output error on held-out captures is no larger.
  case maxOutputError(Double)
  /// The least change at which the busiest rank of expert-parallel groups of these sizes carries at
  /// most 1 + slack times the mean: even ranks instead of even experts.
  case evenRanks([Int], slack: Double)
  /// No balance: so many experts of each layer are left out, those whose loss changes the layer's
  /// output least. The router of the others stays as it is.
  case pruned(Int)

  /// The slack of even ranks where none is asked for.
  public static let standardSlack = 0.05

  /// Strengths that are fitted side by side.
  package var strengths: [Double] {
    switch self {
    case .strength(let strength): [strength]
    case .evenRanks: [1]
    case .pruned: [0]
    case .targetGini, .maxLossIncrease, .maxOutputError: StrengthSearch.candidates
    }
  }

  /// Whether held-out tokens decide.
  package var isJudged: Bool {
    switch self {
    case .strength, .evenRanks, .pruned: false
    case .targetGini, .maxLossIncrease, .maxOutputError: true
    }
  }

  /// The rank counts that are to be even; nil where experts are.
  package var ranks: [Int]? { if case .evenRanks(let ranks, _) = self { ranks } else { nil } }

  /// Whether it is a matter of strength.
  package var hasStrength: Bool { ranks == nil && pruned == nil }

  /// Experts to leave out of each layer; nil where all stay.
  package var pruned: Int? { if case .pruned(let count) = self { count } else { nil } }

  /// Whether hot experts may be copied over hardly used ones for it.
  package var usesClones: Bool { pruned == nil && !concentrates }

  /// Whether load is to be less even than it was.
  package var concentrates: Bool {
    if case .strength(let strength) = self { strength < 0 } else { false }
  }

  /// The name in reports and the value.
  package var field: (name: String, value: JSONValue) {
    (entry.key.rawValue, pruned.map { .integer($0) } ?? .number(entry.value))
  }

  private var entry: (key: CodingKeys, value: Double) {
    switch self {
    case .strength(let value): (.strength, value)
    case .targetGini(let value): (.targetGini, value)
    case .maxLossIncrease(let value): (.maxLossIncrease, value)
    case .maxOutputError(let value): (.maxOutputError, value)
    case .evenRanks(_, let slack): (.rankSlack, slack)
    case .pruned(let count): (.prunedExperts, Double(count))
    }
  }
}

/// An object with one member, named as in reports: `{"target_gini": 0.1}`; for ranks with these
/// too: `{"rank_slack": 0.05, "ranks": [8]}`.
extension Budget: Codable {
  private enum CodingKeys: String, CodingKey {
    case strength
    case targetGini = "target_gini"
    case maxLossIncrease = "max_loss_increase"
    case maxOutputError = "max_output_error"
    case rankSlack = "rank_slack"
    case ranks
    case prunedExperts = "pruned_experts"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let keys = container.allKeys.filter { $0 != .ranks }
    guard keys.count == 1, let key = keys.first,
      (key == .rankSlack) == container.contains(.ranks)
    else {
      throw DecodingError.dataCorrupted(
        .init(
          codingPath: decoder.codingPath,
          debugDescription: "expected one of strength, target_gini, max_loss_increase, "
            + "max_output_error, pruned_experts, and rank_slack with ranks"))
    }
    func value<Value: Decodable>(_ type: Value.Type = Double.self) throws -> Value {
      try container.decode(type, forKey: key)
    }
    self =
      switch key {
      case .strength: .strength(try value())
      case .targetGini: .targetGini(try value())
      case .maxLossIncrease: .maxLossIncrease(try value())
      case .maxOutputError: .maxOutputError(try value())
      case .prunedExperts: .pruned(try value(Int.self))
      case .rankSlack, .ranks:
        .evenRanks(try container.decode([Int].self, forKey: .ranks), slack: try value())
      }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(entry.value, forKey: entry.key)
    try container.encodeIfPresent(ranks, forKey: .ranks)
  }
}
