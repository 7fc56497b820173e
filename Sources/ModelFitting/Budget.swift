// SPDX-License-Identifier: Apache-2.0

/// How much balance.
public enum Budget: Sendable, Hashable, Codable {
  /// 0 changes nothing, 1 asks for uniform load.
  case strength(Double)
  /// The least strength that brings the mean Gini of held-out tokens down to this.
  case targetGini(Double)
  /// The most balance at which the mean NLL of held-out tokens rises by no more, in nats.
  case maxLossIncrease(Double)
  /// The most balance at which the mean output error on held-out captures is no larger.
  case maxOutputError(Double)

  /// Strengths that are fitted side by side.
  package var strengths: [Double] {
    switch self {
    case .strength(let strength): [strength]
    case .targetGini, .maxLossIncrease, .maxOutputError: StrengthSearch.candidates
    }
  }

  /// Whether held-out tokens decide.
  package var isJudged: Bool { if case .strength = self { false } else { true } }

  /// The field of a request and its value.
  package var field: (name: String, value: Double) {
    switch self {
    case .strength(let value): ("strength", value)
    case .targetGini(let value): ("target_gini", value)
    case .maxLossIncrease(let value): ("max_loss_increase", value)
    case .maxOutputError(let value): ("max_output_error", value)
    }
  }
}
