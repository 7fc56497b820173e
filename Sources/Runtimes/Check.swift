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
  }

  /// One runtime's findings, the gravest first.
  public struct Outcome: Sendable {
    /// The runtime that it is about.
    public let runtime: Runtime
    /// What the rules found; empty where none applies.
    public let findings: [Finding]

    /// The gravest level; nil where no rule applies.
    public var level: CheckLevel? { findings.first?.level }
    /// Whether it will load.
    public var loads: Bool { level != .refuses }

    /// The outcome in a few words.
    public var verdict: String {
      switch level {
      case .refuses: "does not load"
      case .drops: "loads, but leaves something out"
      case .differs: "loads, but differs"
      case .note, nil: "loads"
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
      let findings = CheckRule.rules(for: runtime).compactMap { rule in
        rule.applies(subject).map {
          Finding(
            rule: rule.name, level: rule.level, subject: $0, text: rule.text, source: rule.source,
            versions: rule.versions, verified: rule.verified)
        }
      }
      // Stable: rules of one level stay in the order of the table.
      let graded = CheckLevel.allCases.reversed().flatMap { level in
        findings.filter { $0.level == level }
      }
      return Outcome(runtime: runtime, findings: graded)
    }
  }
}
