// SPDX-License-Identifier: Apache-2.0

import ByteStorage

/// How far a forward pass has come.
package struct ForwardProgress: Sendable {
  /// What is being done, e.g. `layer 3 of 48`.
  package let stage: String
  /// Work done and to be done, in tokens times parts of the network.
  package let completed: Int
  package let total: Int
  /// Part of `completed` that an earlier run did.
  package let skipped: Int
}

/// Adds up work done by several threads and reports it.
package final class ProgressCounter: Sendable {
  private let total: Int
  private let report: (@Sendable (ForwardProgress) -> Void)?
  private let state = Locked((stage: "", completed: 0, skipped: 0))

  init(total: Int, report: (@Sendable (ForwardProgress) -> Void)?) {
    self.total = total
    self.report = report
  }

  func enter(_ stage: String) { state.withLock { $0.stage = stage } }

  package func advance(_ work: Int) { add(work, isSkipped: false) }

  /// Notes work that an earlier run did.
  func skip(_ work: Int) { add(work, isSkipped: true) }

  private func add(_ work: Int, isSkipped: Bool) {
    guard let report else { return }
    state.withLock {
      $0.completed += work
      if isSkipped { $0.skipped += work }
      report(
        ForwardProgress(
          stage: $0.stage, completed: $0.completed, total: total, skipped: $0.skipped))
    }
  }
}
