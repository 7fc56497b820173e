// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Progress of long work on standard error: one line that rewrites itself on a terminal, plain
/// lines now and then elsewhere, nothing when quiet.
public final class ProgressLine: Sendable {
  private struct State {
    var label = ""
    var total = 0
    var done = 0
    var start = ContinuousClock.now
    var printed: ContinuousClock.Instant?
    var open = false
  }

  private let state = Mutex(State())
  private let terminal: Bool
  private let quiet: Bool

  /// A progress line; `quiet` silences it.
  public init(quiet: Bool) {
    self.quiet = quiet
    terminal = isatty(STDERR_FILENO) == 1
  }

  /// Begins a piece of work of `total` units.
  public func begin(_ label: String, total: Int) {
    state.withLock { state in
      close(&state)
      state = State(label: label, total: max(total, 1))
    }
  }

  /// Notes that `count` more units are done.
  public func advance(_ count: Int = 1) {
    state.withLock { state in
      state.done += count
      let now = ContinuousClock.now
      let interval: Duration = terminal ? .milliseconds(200) : .seconds(15)
      guard now - (state.printed ?? state.start) >= interval, state.done < state.total else {
        return
      }
      state.printed = now
      show(&state, now: now)
    }
  }

  /// Ends the piece of work and clears the line.
  public func end() {
    state.withLock { close(&$0) }
  }

  private func show(_ state: inout State, now: ContinuousClock.Instant) {
    guard !quiet else { return }
    let elapsed = Double((now - state.start) / .milliseconds(1)) / 1000
    let share = min(1, Double(state.done) / Double(state.total))
    let left = share > 0 ? elapsed * (1 - share) / share : .infinity
    let text = "\(state.label): \(Format.percent(share)), \(Format.duration(left)) left"
    write(terminal ? "\r\u{1B}[2K\(text)" : "\(text)\n")
    state.open = terminal
  }

  private func close(_ state: inout State) {
    if state.open { write("\r\u{1B}[2K") }
    state.open = false
  }

  private func write(_ text: String) {
    FileHandle.standardError.write(Data(text.utf8))
  }
}
