// SPDX-License-Identifier: Apache-2.0

import Architectures
public import ByteStorage
public import Checkpoints
import OrderedCollections

/// Which serving runtimes will load a checkpoint, and what they would leave out or do otherwise.
public struct Check: Sendable {
  /// What one rule found.
  public struct Finding: Sendable {
    public let rule: String
    public let level: CheckLevel
    /// The tensor, key or file that it is about.
    public let subject: String
    public let text: String
    /// Where this is known from.
    public let source: String
    /// The versions of the runtime with which it was seen or read, as far as they are known.
    public let versions: String?
    /// Whether it was seen by running that runtime; otherwise it was only read.
    public let verified: Bool

    /// How sure it is, and from where, in brackets after the text.
    var evidence: String {
      [verified ? "verified" : "unverified", versions].compactMap(\.self).joined(separator: ", ")
        + ": \(source)"
    }
  }

  /// One runtime's findings, the gravest first.
  public struct Outcome: Sendable {
    public let runtime: Runtime
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

  public let checkpoint: String
  package let headline: String
  public let outcomes: [Outcome]
  package let warnings: [String]

  /// Checks the checkpoint at `path` for `runtimes`; reads headers only.
  public static func run(
    _ path: String, runtimes: [Runtime] = Runtime.allCases
  ) throws(RegateError) -> Check {
    let model = try Model.open(path)
    return Check(CheckSubject(model), runtimes: runtimes)
  }

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

  /// The report as text for a terminal.
  public var text: String {
    var lines = ["\(checkpoint): \(headline)", ""]
    for outcome in outcomes {
      let proof = outcome.findings.isEmpty ? " (no rule applies; unverified)" : ""
      lines.append("\(outcome.runtime.rawValue): \(outcome.verdict)\(proof)")
      for finding in outcome.findings {
        lines.append(
          "  \(finding.level.rawValue): \(finding.subject): \(finding.text) "
            + "[\(finding.evidence)]")
      }
    }
    if !warnings.isEmpty { lines += [""] + warnings.map { "warning: \($0)" } }
    return lines.joined(separator: "\n")
  }

  /// The verdicts alone, on one line.
  package var summary: String {
    outcomes.map { "\($0.runtime.rawValue) \($0.verdict)" }.joined(separator: "; ")
  }

  /// The report as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint),
      "runtimes": .array(
        outcomes.map { outcome in
          [
            "runtime": .string(outcome.runtime.rawValue), "loads": .bool(outcome.loads),
            "verdict": .string(outcome.verdict),
            "findings": .array(
              outcome.findings.map {
                [
                  "rule": .string($0.rule), "level": .string($0.level.rawValue),
                  "subject": .string($0.subject), "text": .string($0.text),
                  "source": .string($0.source), "versions": .optional($0.versions),
                  "verified": .bool($0.verified),
                ]
              }),
          ]
        }),
      "warnings": .array(warnings.map { .string($0) }),
    ]
  }
}
