// SPDX-License-Identifier: Apache-2.0

/// How much balance.
public enum Budget: Sendable, Hashable {
  /// 0 changes nothing, 1 asks for uniform load.
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

  /// The slack of even ranks where none is asked for.
  public static let standardSlack = 0.05

  /// Strengths that are fitted side by side.
  package var strengths: [Double] {
    switch self {
    case .strength(let strength): [strength]
    case .evenRanks: [1]
    case .targetGini, .maxLossIncrease, .maxOutputError: StrengthSearch.candidates
    }
  }

  /// Whether held-out tokens decide.
  package var isJudged: Bool {
    switch self {
    case .strength, .evenRanks: false
    case .targetGini, .maxLossIncrease, .maxOutputError: true
    }
  }

  /// The rank counts that are to be even; nil where experts are.
  package var ranks: [Int]? { if case .evenRanks(let ranks, _) = self { ranks } else { nil } }

  /// The name in reports and the value.
  package var field: (name: String, value: Double) { (entry.key.rawValue, entry.value) }

  private var entry: (key: CodingKeys, value: Double) {
    switch self {
    case .strength(let value): (.strength, value)
    case .targetGini(let value): (.targetGini, value)
    case .maxLossIncrease(let value): (.maxLossIncrease, value)
    case .maxOutputError(let value): (.maxOutputError, value)
    case .evenRanks(_, let slack): (.rankSlack, slack)
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
            + "max_output_error, and rank_slack with ranks"))
    }
    let value = try container.decode(Double.self, forKey: key)
    self =
      switch key {
      case .strength: .strength(value)
      case .targetGini: .targetGini(value)
      case .maxLossIncrease: .maxLossIncrease(value)
      case .maxOutputError: .maxOutputError(value)
      case .rankSlack, .ranks:
        .evenRanks(try container.decode([Int].self, forKey: .ranks), slack: value)
      }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(entry.value, forKey: entry.key)
    try container.encodeIfPresent(ranks, forKey: .ranks)
  }
}
