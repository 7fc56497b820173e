// SPDX-License-Identifier: Apache-2.0

import Routing

/// Which tokens of all streams each expert works on: rows sorted by expert, then tokens that are
/// kept apart behind the others, and by stream and token within these.
///
/// A matrix product may round a row by how many rows it has. Tokens that are kept apart are in no
/// product with others, so that what the others get does not depend on where these are routed.
struct ExpertRows: Sendable {
  /// Row numbers `stream * T + token`.
  let rows: [Int32]
  /// Routing weights, in step with `rows`.
  let weights: [Float]
  /// Where the rows of each expert's parts begin; one more than there are.
  private let starts: [Int]
  /// 2 where tokens are kept apart, else 1.
  private let parts: Int

  /// Number of experts.
  var experts: Int { (starts.count - 1) / parts }

  /// All rows of an expert.
  func range(of expert: Int) -> Range<Int> {
    starts[expert * parts]..<starts[(expert + 1) * parts]
  }

  /// The rows of an expert that may share a product, part after part.
  func ranges(of expert: Int) -> [Range<Int>] {
    (expert * parts..<(expert + 1) * parts).map { starts[$0]..<starts[$0 + 1] }
  }

  /// `apart[token]`: the token is kept apart; empty: none is. `maps[s]` names the expert of the
  /// checkpoint that each expert of stream s stands for. The weights of a token's experts that
  /// stand for the same one are added up.
  init(_ assignments: [Assignment], maps: [[Int]], experts: Int, apart: [Bool] = []) {
    let tokens = assignments.first?.tokens ?? 0
    precondition(apart.isEmpty || apart.count == tokens)
    let parts = apart.isEmpty ? 1 : 2
    self.parts = parts
    func part(_ expert: Int, _ row: Int) -> Int {
      expert * parts + (parts == 2 && apart[row % tokens] ? 1 : 0)
    }
    let count = experts * parts
    var counts = [Int](repeating: 0, count: count + 1)
    Self.forEach(assignments, maps) { expert, row, _, isFirst in
      if isFirst { counts[part(expert, row) + 1] += 1 }
    }
    for index in 0..<count { counts[index + 1] += counts[index] }
    starts = counts
    var next = counts
    var rows = [Int32](repeating: 0, count: counts[count])
    var weights = [Float](repeating: 0, count: counts[count])
    Self.forEach(assignments, maps) { expert, row, weight, isFirst in
      let place = part(expert, row)
      if isFirst {
        rows[next[place]] = Int32(row)
        weights[next[place]] = weight
        next[place] += 1
      } else {
        weights[next[place] - 1] += weight
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

  /// The part of `range`, one of `ranges(of:)`, whose row numbers lie in `window`.
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
