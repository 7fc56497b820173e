// SPDX-License-Identifier: Apache-2.0

public import Reports

/// Where long work says how far it is.
public protocol ProgressSink: Sendable {
  /// Begins a piece of work of `total` units.
  func begin(_ label: String, total: Int)
  /// Notes that `count` more units are done.
  func advance(_ count: Int)
  /// Ends the piece of work.
  func end()
}

extension ProgressLine: ProgressSink {}
