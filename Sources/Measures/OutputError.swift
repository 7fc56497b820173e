// SPDX-License-Identifier: Apache-2.0
//
// Relative error of a layer's routed experts on the same inputs,
//
//   ||y' - y||_F / ||y||_F,   y_t = sum over the token's experts of weight x expert(x_t),
//
// computed with the real experts (shared experts are the same on both sides and cancel).

package import ByteStorage
package import Inference
package import Routing
package import Tensors

package enum OutputError {
  /// A routing and the logical expert (of the original checkpoint) in each physical one.
  package struct Routing {
    package let assignment: Assignment
    package let map: [Int]

    package init(assignment: Assignment, map: [Int]) {
      self.assignment = assignment
      self.map = map
    }
  }

  /// The errors of each of `candidates` against `original` over each of `groups` of tokens, nil
  /// for all: [candidate][group]. Every expert is decoded once for all. Nil where the original's
  /// output is zero.
  package static func relative(
    inputs: Matrix, original: Routing, candidates: [Routing], groups: [[Int]?] = [nil],
    pass: ExpertPass
  ) throws(RegateError) -> [[Double?]] {
    let experts = original.map.count
    let before = weights(of: original, experts: experts)
    let after = candidates.map { weights(of: $0, experts: experts) }
    let tokens = before.indices.map { logical in
      after.reduce(into: Set(before[logical].keys)) { $0.formUnion($1[logical].keys) }.sorted()
    }
    var output = Matrix(rows: inputs.rows, columns: inputs.columns)
    var differences = candidates.map { _ in output }
    try pass.run([.init(inputs: inputs, tokensOfExpert: tokens)]) { _, logical, tokens, outputs in
      for (row, token) in tokens.enumerated() {
        let old = before[logical][token] ?? 0
        output.add(outputs, row: row, times: old, to: token)
        for candidate in after.indices {
          let new = after[candidate][logical][token] ?? 0
          differences[candidate].add(outputs, row: row, times: new - old, to: token)
        }
      }
    }
    return differences.map { difference in
      groups.map { rows in
        let norm = output.squaredNorm(rows: rows)
        return norm > 0 ? (difference.squaredNorm(rows: rows) / norm).squareRoot() : nil
      }
    }
  }

  /// For each logical, its tokens and their weight there; two clones of one token add up.
  private static func weights(
    of routing: Routing, experts: Int
  ) -> [[Int: Float]] {
    let (assignment, map) = (routing.assignment, routing.map)
    var result = [[Int: Float]](repeating: [:], count: experts)
    for token in 0..<assignment.tokens {
      for rank in token * assignment.topK..<(token + 1) * assignment.topK {
        result[map[Int(assignment.experts[rank])]][token, default: 0] += assignment.weights[rank]
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

  /// Over the given rows, nil for all.
  fileprivate func squaredNorm(rows: [Int]?) -> Double {
    guard let rows else { return values.reduce(0.0) { $0 + Double($1) * Double($1) } }
    return rows.reduce(0.0) { sum, row in
      self.row(row).reduce(sum) { $0 + Double($1) * Double($1) }
    }
  }
}
