// SPDX-License-Identifier: Apache-2.0

public import Checkpoints
import OrderedCollections
public import Runtimes

extension Check: Report {
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
  var summary: String {
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

extension Check.Finding {
  /// How sure it is, and from where, in brackets after the text.
  fileprivate var evidence: String {
    [verified ? "verified" : "unverified", versions].compactMap(\.self).joined(separator: ", ")
      + ": \(source)"
  }
}
