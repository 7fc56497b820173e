// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Routing

extension RoutingTraits {
  /// The rule that a runtime with these traits follows for a file with these settings.
  func rule(
    experts: Int, topK: Int, settings: inout Settings, scoringForAbsentKey: RoutingRule.Scoring?
  ) throws(RegateError) -> RoutingRule {
    var rule = RoutingRule(
      experts: experts, topK: topK,
      scoring: try readScoring(&settings, absent: scoringForAbsentKey),
      normalise: try readNormalise(&settings), normaliseGuard: try readGuard(&settings),
      scale: try readScale(&settings), groups: try readGroups(experts, topK, &settings))
    if let jitter, let value = try settings.number(jitter) {
      guard value >= 0 else {
        throw settings.mismatch(jitter.names[0], "is \(value), expected 0 or more")
      }
      rule.jitter = Float(value)
    }
    guard rule.scoring != .sparseMixer || topK == 2 else {
      throw settings.mismatch(
        "num_experts_per_tok", "is \(topK), but the sparse mixer chooses 2 experts")
    }
    return rule
  }

  private func readScoring(
    _ settings: inout Settings, absent: RoutingRule.Scoring?
  ) throws(RegateError) -> RoutingRule.Scoring {
    switch scoring {
    case .fixed(let scoring): return scoring
    case .named(let key, let words):
      let word = try settings.string(key) ?? ""
      guard let scoring = words[word] else {
        throw RegateError(
          .unsupported, file: settings.file, subject: settings.scope + key.names[0],
          "is \"\(word)\", expected \(words.keys.sorted().joined(separator: " or "))")
      }
      return scoring
    case .gatingFunction(let fallback):
      let key = Key<Int>("expert_gating_func", default: nil)
      let number = try settings.integer(key) ?? 0
      guard let function = GatingFunction(rawValue: number) else {
        throw RegateError(
          .unsupported, file: settings.file, subject: settings.scope + key.names[0],
          "is \(number), expected 1 (softmax), 2 (sigmoid), 3 (softmax over the chosen) or 4"
            + " (square root of softplus)")
      }
      guard let scoring = function.scoring ?? absent ?? fallback else {
        throw RegateError(
          .missing, file: settings.file, subject: settings.scope + key.names[0],
          "the key is absent, and llama.cpp has no default for this architecture",
          advice: "convert the model again with a current llama.cpp")
      }
      return scoring
    }
  }

  private func readNormalise(_ settings: inout Settings) throws(RegateError) -> Bool {
    switch normalise {
    case .fixed(let value): return value
    case .key(let key): return try settings.bool(key) ?? false
    }
  }

  private func readGuard(_ settings: inout Settings) throws(RegateError) -> RoutingRule.Guard {
    switch guarding {
    case .fixed(let guarding): return guarding
    case .clampKey(let key): return .clamp(Float(try settings.number(key) ?? 0))
    }
  }

  private func readScale(_ settings: inout Settings) throws(RegateError) -> Float {
    switch scale {
    case .one: return 1
    case .key(let key, let zeroIsOne):
      let value = Float(try settings.number(key) ?? 1)
      guard value.isFinite, value > 0 || (zeroIsOne && value == 0) else {
        throw settings.mismatch(key.names[0], "is \(value), expected a scale above 0")
      }
      return value == 0 ? 1 : value
    }
  }

  /// Whether the file's method key, if the family has one, switches groups on.
  private func usesGroups(_ groups: Groups, _ settings: inout Settings) throws(RegateError) -> Bool
  {
    guard let method = groups.method else { return true }
    switch try settings.string(method.key) {
    case method.on: return true
    case method.off: return false
    case let other:
      throw RegateError(
        .unsupported, file: settings.file, subject: settings.scope + method.key.names[0],
        "is \"\(other ?? "absent")\", expected \"\(method.off)\" or \"\(method.on)\"",
        advice: "transformers knows no other selection for this family")
    }
  }

  private func readGroups(
    _ experts: Int, _ topK: Int, _ settings: inout Settings
  ) throws(RegateError) -> RoutingRule.Groups? {
    guard let groups, try usesGroups(groups, &settings) else { return nil }
    let count = try settings.required(groups.count, minimum: groups.mayBeAbsent ? 0 : 1)
    if count <= 1, groups.mayBeAbsent { return nil }
    let kept = try settings.required(groups.kept)
    guard experts % count == 0 else {
      throw settings.mismatch(
        groups.count.names[0], "is \(count), which does not divide the \(experts) experts")
    }
    guard kept > 0, kept <= count else {
      throw settings.mismatch(groups.kept.names[0], "is \(kept), expected 1 to \(count) groups")
    }
    let size = experts / count
    guard topK <= kept * size else {
      throw settings.mismatch(
        groups.kept.names[0],
        "is \(kept), so only \(kept * size) experts can be chosen from, but top-k is \(topK)")
    }
    guard size > 1 || groups.score == .max else {
      throw settings.mismatch(
        groups.count.names[0],
        "is \(count), so a group has one expert, but its score is the sum of two")
    }
    return kept == count
      ? nil
      : RoutingRule.Groups(count: count, kept: kept, score: groups.score, mask: groups.mask)
  }
}
