// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation

/// How progress is told.
package enum ProgressForm: String, CaseIterable, Sendable {
  /// For people.
  case text
  /// For programs: one ``ProgressEvent`` a line.
  case json
}

/// Progress of long work on standard error: one line that rewrites itself on a terminal, plain
/// lines now and then elsewhere, events for programs. When quiet, warnings are all that is said.
package final class ProgressLine: Sendable {
  private struct State {
    var label = ""
    var stage = ""
    /// Stages that came to their end in this run: how long one takes is not known before.
    var stagesDone = 0
    var total = 0
    var done = 0
    /// Part of `done` that an earlier run did: it says nothing about this one's speed.
    var skipped = 0
    /// Tokens that go through a model in all; 0 where none do.
    var tokens = 0
    var start = ContinuousClock.now
    var printed: ContinuousClock.Instant?
    var open = false
    var isEnded = false
  }

  private let told = Locked<[String]>([])

  private let state = Locked(State())
  private let form: ProgressForm
  private let terminal: Bool
  private let quiet: Bool

  /// A progress line; `quiet` silences it.
  package init(quiet: Bool, form: ProgressForm = .text) {
    self.quiet = quiet
    self.form = form
    terminal = form == .text && isatty(STDERR_FILENO) == 1
  }

  /// Time between two lines.
  private var interval: Duration {
    terminal || form == .json ? .milliseconds(200) : .seconds(15)
  }

  /// Begins a piece of work of `total` units.
  package func begin(_ label: String, total: Int) { begin(label, total: total, tokens: 0) }

  /// Begins a piece of work of `total` units in which so many tokens go through a model.
  package func begin(_ label: String, total: Int, tokens: Int) {
    state.withLock { state in
      finish(&state)
      state = State(label: label, total: max(total, 1), tokens: tokens)
      tell(state)
    }
  }

  /// Notes what is being done now.
  package func enter(_ stage: String) {
    state.withLock { state in
      if !state.stage.isEmpty, state.stage != stage { state.stagesDone += 1 }
      state.stage = stage
    }
  }

  /// Notes that `count` more units are done.
  package func advance(_ count: Int = 1) {
    state.withLock { state in
      state.done += count
      let now = ContinuousClock.now
      guard now - (state.printed ?? state.start) >= interval, state.done < state.total else {
        return
      }
      state.printed = now
      show(&state, now: now)
    }
  }

  /// Notes `count` units that an earlier run did.
  package func skip(_ count: Int) {
    state.withLock { state in
      state.done += count
      state.skipped += count
      state.start = .now
    }
  }

  /// Ends the piece of work and clears the line.
  package func end() {
    state.withLock { finish(&$0) }
  }

  /// Work that another follows is done, too.
  private func finish(_ state: inout State) {
    close(&state)
    guard !state.isEnded else { return }
    (state.done, state.isEnded) = (state.total, true)
    tell(state)
  }

  /// All that was warned of.
  package var warnings: [String] { told.withLock(\.self) }

  /// Says what went wrong without ending the work.
  package func warn(_ text: String) {
    told.withLock { $0.append(text) }
    state.withLock { state in
      close(&state)
      write(form == .json ? ProgressEvent(warning: text).line : "warning: \(text.harmless())\n")
    }
  }

  private func show(_ state: inout State, now: ContinuousClock.Instant) {
    guard !quiet else { return }
    guard form == .text else { return tell(state) }
    let elapsed = Double((now - state.start) / .milliseconds(1)) / 1000
    let text = ProgressLine.text(
      label: state.label, stage: state.stage, done: state.done, skipped: state.skipped,
      total: state.total, tokens: state.tokens, elapsed: elapsed,
      stagesDone: state.stagesDone)
    write(terminal ? "\r\u{1B}[2K\(text)" : "\(text)\n")
    state.open = terminal
  }

  /// The event of what is done, where programs are told.
  private func tell(_ state: State) {
    guard form == .json, !quiet, state.total > 0 else { return }
    write(
      ProgressEvent(
        label: state.label, stage: state.stage, done: min(state.done, state.total),
        total: state.total
      ).line)
  }

  /// Part of the work that must be done before the speed says when all will be.
  private static let telling = 0.02

  /// The line: what is done, how much of it, the time left and the tokens per second at this run's
  /// speed so far. Parts of a stage differ in speed, so that no time is told before one was ended.
  package static func text(
    label: String, stage: String, done: Int, skipped: Int, total: Int, tokens: Int,
    elapsed: Double, stagesDone: Int
  ) -> String {
    let share = min(1, Double(done) / Double(total))
    let own = share - Double(skipped) / Double(total)
    var parts = [Format.percent(share)]
    if own >= telling, stage.isEmpty || stagesDone > 0 {
      parts.append("\(Format.duration(elapsed * (1 - share) / own)) left")
    }
    if !stage.isEmpty { parts.insert(stage, at: 0) }
    if tokens > 0, elapsed > 0 {
      parts.append("\(Format.number(own * Double(tokens) / elapsed, decimals: 0)) tokens/s")
    }
    return "\(label): \(parts.joined(separator: ", "))"
  }

  private func close(_ state: inout State) {
    if state.open { write("\r\u{1B}[2K") }
    state.open = false
  }

  private func write(_ text: String) { StandardStream.say(text) }
}
