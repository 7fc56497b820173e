// SPDX-License-Identifier: Apache-2.0

import Measures

extension TrafficSample {
  /// The held-out rows of `parts` as a server would mix them. Captures do not say where sequences
  /// begin: runs of up to 1,024 tokens stand for them.
  package func servedRows(of parts: [Part]) -> [Int] {
    switch calibration {
    case .captures: return ServedOrder.rows(parts.flatMap { TrafficSplit.runs($0.heldOut) })
    case .tokens(let set):
      let starts = set.sequences.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.count) }
      return ServedOrder.rows(
        parts.flatMap(\.heldOutSequences).map { starts[$0]..<starts[$0 + 1] })
    }
  }
}
