// SPDX-License-Identifier: Apache-2.0

public import Checkpoints

/// The result of a command: a value with its figures, which can be shown as text and as JSON.
///
/// Its `json` is one object; keys may be added in later releases, and are never changed.
public protocol Report: Sendable, JSONRepresentable {
  /// The report for a terminal.
  var text: String { get }
}

extension Duration {
  /// The duration since `start`, in seconds.
  static func seconds(since start: ContinuousClock.Instant) -> Double {
    Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000
  }
}
