// SPDX-License-Identifier: Apache-2.0

public import Reports

/// Where long work says how far it is.
public protocol ProgressSink: Sendable {
  /// Begins a piece of work of `total` units.
  func begin(_ label: String, total: Int)
  /// Begins a piece of work of `total` units in which so many tokens go through a model.
  func begin(_ label: String, total: Int, tokens: Int)
  /// Notes what is being done now.
  func enter(_ stage: String)
  /// Notes that `count` more units are done.
  func advance(_ count: Int)
  /// Notes `count` units that an earlier run did.
  func skip(_ count: Int)
  /// Ends the piece of work.
  func end()
  /// Says what went wrong without ending the work.
  func warn(_ text: String)
}

extension ProgressSink {
  public func begin(_ label: String, total: Int, tokens: Int) { begin(label, total: total) }
  public func enter(_ stage: String) {}
  public func skip(_ count: Int) { advance(count) }
  public func warn(_ text: String) {}
}

extension ProgressLine: ProgressSink {}
