// SPDX-License-Identifier: Apache-2.0

package import OrderedCollections

/// Where the time of a fit went, in seconds by phase.
package struct PhaseClock: Sendable {
  package private(set) var seconds: OrderedDictionary<String, Double> = [:]
  private var last = ContinuousClock.now

  package init() {}

  /// The time since the last lap, or since the clock was made, belongs to `phase`.
  package mutating func lap(_ phase: String) {
    let now = ContinuousClock.now
    seconds[phase, default: 0] += Double((now - last) / .microseconds(1)) / 1e6
    last = now
  }

  /// Adds what another clock counted; its phases get `prefix`.
  package mutating func add(_ other: PhaseClock, prefix: String = "") {
    for (phase, time) in other.seconds { seconds[prefix + phase, default: 0] += time }
    last = .now
  }
}
