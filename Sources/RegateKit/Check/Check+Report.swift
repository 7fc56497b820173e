// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import OrderedCollections
public import Runtimes

extension Check: Report {
  /// The report as text for a terminal.
  public var text: String {
    var lines = ["\(checkpoint): \(headline)", ""]
    for outcome in outcomes {
      lines.append("\(outcome.runtime.rawValue): \(outcome.verdict.rawValue)\(outcome.proof)")
      for finding in outcome.findings {
        lines.append("  \(finding.line)")
        if let command = finding.command { lines.append("    \(command)") }
      }
    }
    if !warnings.isEmpty { lines += [""] + warnings.map { "warning: \($0)" } }
    return lines.joined(separator: "\n")
  }

  /// The verdicts alone, on one line.
  var summary: String {
    outcomes.map { "\($0.runtime.rawValue) \($0.verdict.rawValue)" }.joined(separator: "; ")
  }

  /// The report as one JSON object.
  public var json: JSONValue {
    [
      "checkpoint": .string(checkpoint),
      "runtimes": .array(outcomes.map(\.json)),
      "warnings": .array(warnings.map { .string($0) }),
    ]
  }
}

extension Check.Finding {
  /// What it says, of which versions where not of all, and in brackets how that is known.
  fileprivate var line: String {
    let versions = range.map { "versions \($0): " } ?? ""
    return "\(level.rawValue): \(subject): \(versions)\(text) [\(evidence)]"
  }
}

extension Check.Outcome {
  /// Behind the verdict: the versions in which it was seen, or why there is none.
  fileprivate var proof: String {
    switch verdict {
    case .loads, .differs:
      confirmed.map { " (run in \($0.versions.joined(separator: ", ")))" } ?? ""
    case .notChecked:
      level == .unknown ? "" : ": whether it loads such a checkpoint was never seen"
    case .leavesOut, .startsAtRandom, .doesNotLoad: ""
    }
  }
}

extension Check.Outcome: JSONRepresentable {
  /// The outcome as one JSON object.
  public var json: JSONValue {
    [
      "runtime": .string(runtime.rawValue), "loads": loads.map { .bool($0) } ?? .null,
      "verdict": .string(verdict.rawValue),
      "confirmed": .array((confirmed?.versions ?? []).map { .string($0) }),
      "findings": .array(findings.map(\.json)),
    ]
  }
}

extension Check.Finding: JSONRepresentable {
  /// The finding as one JSON object.
  public var json: JSONValue {
    [
      "rule": .string(rule), "level": .string(level.rawValue), "subject": .string(subject),
      "text": .string(text), "evidence": evidence.json, "range": range?.json ?? .null,
      "command": .optional(command), "names": .array(names.map { .string($0) }),
    ]
  }
}
