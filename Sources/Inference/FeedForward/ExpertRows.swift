// SPDX-License-Identifier: Apache-2.0

import Routing

/// Which tokens of all streams each expert works on: rows sorted by expert, and by stream and token
/// within one.
struct ExpertRows: Sendable {
  /// Row numbers `stream * T + token`.
  let rows: [Int32]
  /// Routing weights, in step with `rows`.
  let weights: [Float]
  /// Where each expert's rows begin; one more than there are experts.
  let starts: [Int]

  func range(of expert: Int) -> Range<Int> { starts[expert]..<starts[expert + 1] }

  /// `maps[s]` names the expert of the checkpoint that each expert of stream s stands for. The
  /// weights of a token's experts that stand for the same one are added up.
  init(_ assignments: [Assignment], maps: [[Int]], experts: Int) {
    let tokens = assignments.first?.tokens ?? 0
    var counts = [Int](repeating: 0, count: experts + 1)
    Self.forEach(assignments, maps) { expert, _, _, isFirst in
      if isFirst { counts[expert + 1] += 1 }
    }
    for expert in 0..<experts { counts[expert + 1] += counts[expert] }
    starts = counts
    var next = counts
    var rows = [Int32](repeating: 0, count: counts[experts])
    var weights = [Float](repeating: 0, count: counts[experts])
    Self.forEach(assignments, maps) { expert, row, weight, isFirst in
      if isFirst {
        rows[next[expert]] = Int32(row)
        weights[next[expert]] = weight
        next[expert] += 1
      } else {
        weights[next[expert] - 1] += weight
      }
    }
    precondition(assignments.allSatisfy { $0.tokens == tokens })
    self.rows = rows
    self.weights = weights
  }

  /// Calls `body` for every assignment, in the order of the rows; `isFirst` is false where an
  /// earlier entry of the token stands for the same expert.
  private static func forEach(
    _ assignments: [Assignment], _ maps: [[Int]],
    _ body: (_ expert: Int, _ row: Int, _ weight: Float, _ isFirst: Bool) -> Void
  ) {
    for (stream, assignment) in assignments.enumerated() {
      let map = maps[stream]
      for token in 0..<assignment.tokens {
        let first = token * assignment.topK
        for rank in first..<first + assignment.topK {
          let expert = map[Int(assignment.experts[rank])]
          let isRepeated = (first..<rank).contains {
            map[Int(assignment.experts[$0])] == expert
          }
          body(
            expert, stream * assignment.tokens + token, assignment.weights[rank], !isRepeated)
        }
      }
    }
  }

  /// The part of `range`, all of one expert, whose row numbers lie in `window`.
  func part(of range: Range<Int>, in window: Range<Int>) -> Range<Int> {
    lowerBound(window.lowerBound, in: range)..<lowerBound(window.upperBound, in: range)
  }

  private func lowerBound(_ row: Int, in range: Range<Int>) -> Int {
    var (low, high) = (range.lowerBound, range.upperBound)
    while low < high {
      let middle = (low + high) / 2
      if Int(rows[middle]) < row { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
