// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// How far a forward pass has come.
package struct ForwardProgress: Sendable {
  /// What is being done, e.g. `layer 3 of 48`.
  package let stage: String
  /// Work done and to be done, in tokens times parts of the network.
  package let completed: Int
  package let total: Int
  /// Tokens of all streams. `completed` over `total` of them are done, so to speak: divided by the
  /// time that it took, the throughput in tokens per second.
  package let tokens: Int
}

/// Adds up work done by several threads and reports it.
final class ProgressCounter: Sendable {
  private let total: Int
  private let tokens: Int
  private let report: (@Sendable (ForwardProgress) -> Void)?
  private let state = Mutex((stage: "", completed: 0))

  init(total: Int, tokens: Int, report: (@Sendable (ForwardProgress) -> Void)?) {
    self.total = total
    self.tokens = tokens
    self.report = report
  }

  func enter(_ stage: String) { state.withLock { $0.stage = stage } }

  func advance(_ work: Int) {
    guard let report else { return }
    state.withLock {
      $0.completed += work
      report(
        ForwardProgress(
          stage: $0.stage, completed: $0.completed, total: total, tokens: tokens))
    }
  }
}
