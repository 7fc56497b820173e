// SPDX-License-Identifier: Apache-2.0

import Architectures
import Checkpoints

/// Which serving runtimes will load a checkpoint, and what they would leave out or do otherwise.
public struct Check: Sendable {
  /// What one rule found.
  public struct Finding: Sendable {
    /// Stable name of the rule, for programs.
    public let rule: String
    /// How grave it is.
    public let level: CheckLevel
    /// The tensor, key or file that it is about.
    public let subject: String
    /// What the runtime does, and what can be done about it.
    public let text: String
    /// Where this is known from.
    public let source: String
    /// The versions of the runtime with which it was seen or read, as far as they are known.
    public let versions: String?
    /// Whether it was seen by running that runtime; otherwise it was only read.
    public let verified: Bool
    /// The tensors that it is about, where there may be several.
    public var names: [String] = []
  }

  /// What becomes of a checkpoint in a runtime.
  public enum Verdict: String, Sendable, CaseIterable {
    case loads
    case differs = "loads, but differs"
    case leavesOut = "loads, but leaves something out"
    case startsAtRandom = "loads, but starts something at random"
    case doesNotLoad = "does not load"
    /// No verdict: what the runtime does is not known.
    case notChecked = "not checked"
  }

  /// One runtime's findings, the gravest first.
  public struct Outcome: Sendable {
    /// The runtime that it is about.
    public let runtime: Runtime
    /// What the rules found; empty where none applies.
    public let findings: [Finding]

    /// The versions with which the runtime was seen to load such checkpoints; nil where it was not.
    public let confirmed: String?

    /// The gravest level; nil where no rule applies.
    public var level: CheckLevel? { findings.first?.level }

    public var verdict: Verdict {
      switch level {
      case .refuses: .doesNotLoad
      case .random: .startsAtRandom
      case .drops: .leavesOut
      case .unknown: .notChecked
      case .differs: confirmed == nil ? .notChecked : .differs
      case .note, nil: confirmed == nil ? .notChecked : .loads
      }
    }

    /// Whether it will load with all that it needs; nil where that was not checked.
    public var loads: Bool? {
      switch verdict {
      case .loads, .differs, .leavesOut: true
      case .startsAtRandom, .doesNotLoad: false
      case .notChecked: nil
      }
    }
  }

  /// Path of the checkpoint.
  public let checkpoint: String
  /// Family, container and form of the router, in words.
  public let headline: String
  /// For each runtime that was asked about.
  public let outcomes: [Outcome]
  /// What should be known of the checkpoint before relying on it, one sentence each.
  public let warnings: [String]

  package init(_ subject: CheckSubject, runtimes: [Runtime] = Runtime.allCases) {
    checkpoint = subject.model.checkpoint.path
    let layout = subject.layout
    headline =
      "\(layout.family.title), \(layout.container.rawValue), "
      + (subject.prototype
        ? "the prototype router"
        : subject.official ? "the router of the official LPR code" : "the family's own router")
    warnings = subject.model.warnings
    outcomes = runtimes.map { runtime in
      let rules = CheckRule.rules(for: runtime).compactMap { rule in
        rule.applies(subject).map { (rule, subject: $0) }
      }
      let findings =
        subject.reading.findings(for: runtime)
        + rules.map { rule, subject in
          Finding(
            rule: rule.name, level: rule.level, subject: subject, text: rule.text,
            source: rule.source, versions: rule.versions, verified: rule.verified)
        }
      // Stable: rules of one level stay in the order of the table.
      let graded = CheckLevel.allCases.reversed().flatMap { level in
        findings.filter { $0.level == level }
      }
      let confirmed = rules.first { $0.0.confirms }?.0.versions
      return Outcome(runtime: runtime, findings: graded, confirmed: confirmed)
    }
  }
}
