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
    /// How this is known, and of which versions.
    public let evidence: Evidence
    /// The versions that it is about; nil: all, as far as they are known.
    public var range: VersionRange?
    /// What to type to serve or load the checkpoint, called MODEL, where this says that it loads.
    public var command: String?
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

    /// What shows that the runtime loads such checkpoints; nil where it was not seen to.
    public var confirmed: Evidence? { findings.first { $0.command != nil }?.evidence }

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
      let findings =
        subject.reading.findings(for: runtime)
        + CheckRule.rules(for: runtime).compactMap { rule in
          rule.applies(subject).map {
            Finding(
              rule: rule.name, level: rule.level, subject: $0, text: rule.text,
              evidence: rule.evidence, range: rule.range, command: rule.command)
          }
        }
      // How it is served is not said beside what keeps it from loading.
      let stops = findings.contains { $0.level == .refuses || $0.level == .random }
      // Stable: rules of one level stay in the order of the table.
      let graded = CheckLevel.allCases.reversed().flatMap { level in
        findings.filter { $0.level == level && !(stops && $0.command != nil) }
      }
      return Outcome(runtime: runtime, findings: graded)
    }
  }
}
