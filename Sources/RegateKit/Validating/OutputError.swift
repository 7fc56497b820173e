// SPDX-License-Identifier: Apache-2.0
//
// Relative error of a layer's routed experts on the same inputs,
//
//   ||y' - y||_F / ||y||_F,   y_t = sum over the token's experts of weight x expert(x_t),
//
// computed with the real experts (shared experts are the same on both sides and cancel).

import ByteStorage
import Routing
import Tensors

enum OutputError {
  /// The error of `patched` against `original`; the maps name the function (expert of the original
  /// checkpoint) in each slot. Nil when the original's output is zero.
  static func relative(
    inputs: Matrix, original: Assignment, originalMap: [Int], patched: Assignment,
    patchedMap: [Int], pass: ExpertPass
  ) throws(RegateError) -> Double? {
    let functions = originalMap.count
    let before = weights(of: original, map: originalMap, functions: functions)
    let after = weights(of: patched, map: patchedMap, functions: functions)
    let tokens = zip(before, after).map { Set($0.keys).union($1.keys).sorted() }
    var output = Matrix(rows: inputs.rows, columns: inputs.columns)
    var difference = output
    try pass.run(inputs: inputs, tokensOfExpert: tokens) { function, tokens, outputs in
      for (row, token) in tokens.enumerated() {
        let old = before[function][token] ?? 0
        let new = after[function][token] ?? 0
        output.add(outputs, row: row, times: old, to: token)
        if new != old { difference.add(outputs, row: row, times: new - old, to: token) }
      }
    }
    let norm = output.squaredNorm
    return norm > 0 ? (difference.squaredNorm / norm).squareRoot() : nil
  }

  /// For each function, its tokens and their weight there; two clones of one token add up.
  private static func weights(
    of assignment: Assignment, map: [Int], functions: Int
  ) -> [[Int: Float]] {
    var result = [[Int: Float]](repeating: [:], count: functions)
    for token in 0..<assignment.tokens {
      for rank in token * assignment.topK..<(token + 1) * assignment.topK {
        result[map[Int(assignment.slots[rank])]][token, default: 0] += assignment.weights[rank]
      }
    }
    return result
  }
}

extension Matrix {
  /// Adds `factor` times a row of `other` to a row of this matrix.
  fileprivate mutating func add(_ other: Matrix, row: Int, times factor: Float, to target: Int) {
    guard factor != 0 else { return }
    let source = row * columns
    let destination = target * columns
    for column in 0..<columns {
      values[destination + column] += factor * other.values[source + column]
    }
  }

  fileprivate var squaredNorm: Double {
    values.reduce(0.0) { $0 + Double($1) * Double($1) }
  }
}
