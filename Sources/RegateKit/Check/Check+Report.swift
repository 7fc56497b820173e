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
        lines.append(
          "  \(finding.level.rawValue): \(finding.subject): \(finding.text) "
            + "[\(finding.evidence)]")
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
  /// How sure it is, and from where, in brackets after the text.
  fileprivate var evidence: String {
    [verified ? "verified" : "unverified", versions].compactMap(\.self).joined(separator: ", ")
      + ": \(source)"
  }
}

extension Check.Outcome {
  /// Behind the verdict: the versions with which it was seen, or why there is none.
  fileprivate var proof: String {
    switch verdict {
    case .loads, .differs: confirmed.map { " (verified with \($0))" } ?? ""
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
      "verdict": .string(verdict.rawValue), "confirmed": .optional(confirmed),
      "findings": .array(findings.map(\.json)),
    ]
  }
}

extension Check.Finding: JSONRepresentable {
  /// The finding as one JSON object.
  public var json: JSONValue {
    [
      "rule": .string(rule), "level": .string(level.rawValue), "subject": .string(subject),
      "text": .string(text), "source": .string(source), "versions": .optional(versions),
      "verified": .bool(verified), "names": .array(names.map { .string($0) }),
    ]
  }
}
