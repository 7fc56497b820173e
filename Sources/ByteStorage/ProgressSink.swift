// SPDX-License-Identifier: Apache-2.0

/// Where long work says how far it is, and hears whether to stop.
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
  /// Whether the work is no longer wanted; asked between layers, files and documents, and while
  /// hashing. Work that stops throws `RegateError.Code.cancelled` and leaves nothing half-written.
  var isCancelled: Bool { get }
}

extension ProgressSink {
  public func begin(_ label: String, total: Int, tokens: Int) { begin(label, total: total) }
  public func enter(_ stage: String) {}
  public func skip(_ count: Int) { advance(count) }
  public func warn(_ text: String) {}
  public var isCancelled: Bool { false }

  /// Throws where the work is no longer wanted.
  package func requireWanted() throws(RegateError) {
    guard !isCancelled else { throw RegateError(.cancelled, "the work was stopped") }
  }
}

/// A sink that shows nothing.
public struct NoProgress: ProgressSink {
  public init() {}
  public func begin(_ label: String, total: Int) {}
  public func advance(_ count: Int) {}
  public func end() {}
}
