// SPDX-License-Identifier: Apache-2.0

public import Checkpoints

/// The result of a command: a value with its figures, which can be shown as text and as JSON.
///
/// Every report is `Encodable`: it encodes as its `json` does, with keys in snake_case and null where
/// something is undefined.
public protocol Report: Sendable, Encodable {
  /// The report for a terminal.
  var text: String { get }
  /// The report as one JSON object; keys may be added in later releases, and are never changed.
  var json: JSONValue { get }
}

extension Report {
  public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }
}

extension Duration {
  /// The duration since `start`, in seconds.
  static func seconds(since start: ContinuousClock.Instant) -> Double {
    Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
  }
}
