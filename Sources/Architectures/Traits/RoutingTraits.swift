// SPDX-License-Identifier: Apache-2.0

package import Routing

/// How a runtime routes: where each field of `RoutingRule` comes from.
package struct RoutingTraits: Sendable {
  package var scoring: Scoring
  package var normalise: Switch
  package var guarding: NormaliseGuard = .fixed(.none)
  package var scale: Scale = .one
  package var groups: Groups?
  /// The sparse mixer's threshold.
  package var jitter: Key<Double>?

  /// The same, where `key` names its score, or is absent; another score is refused.
  func expecting(_ word: String, of key: String) -> RoutingTraits {
    guard case .fixed(let function) = scoring else { return self }
    var traits = self
    traits.scoring = .named(Key(key, default: word), [word: function])
    return traits
  }

  package enum Scoring: Sendable {
    case fixed(RoutingRule.Scoring)
    /// GGUF `expert_gating_func`; the default is what llama.cpp takes for an absent key, nil where
    /// it stops.
    case gatingFunction(default: RoutingRule.Scoring?)
    /// By a key's words.
    case named(Key<String>, [String: RoutingRule.Scoring])
  }

  package enum NormaliseGuard: Sendable {
    case fixed(RoutingRule.Guard)
    case clampKey(Key<Double>)
  }

  package enum Scale: Sendable {
    case one
    /// `zeroIsOne`: llama.cpp takes 0 for "no scaling".
    case key(Key<Double>, zeroIsOne: Bool)
  }

  package struct Groups: Sendable {
    package var count: Key<Int>
    package var kept: Key<Int>
    package var score: RoutingRule.Groups.Score
    package var mask: RoutingRule.Groups.Mask
    /// 0 and 1 group are none, however many are kept of them.
    package var mayBeAbsent = false
    /// A string key that switches groups on, and the values that it may have.
    package var method: (key: Key<String>, on: String, off: String)?
  }
}
