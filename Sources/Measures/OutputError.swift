// SPDX-License-Identifier: Apache-2.0
//
// Relative error of a layer's routed experts on the same inputs,
//
//   y_t = sum over the token's experts of weight x expert(x_t),
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

  /// The errors of each of `routings` against the first, over each of `groups` of tokens, nil for
  /// all: [group][routing]. Every expert is decoded once for all.
  package static func relative(
    inputs: Matrix, routings: [Routing], groups: [[Int]?], pass: ExpertPass
  ) throws(RegateError) -> [[RelativeError]] {
    let experts = routings[0].map.count
    let weights = routings.map { Self.weights(of: $0, experts: experts) }
    let tokens = (0..<experts).map { logical in
      weights.reduce(into: Set<Int>()) { $0.formUnion($1[logical].keys) }.sorted()
    }
    var output = Matrix(rows: inputs.rows, columns: inputs.columns)
    var differences = routings.map { _ in output }
    try pass.run([.init(inputs: inputs, tokensOfExpert: tokens)]) { _, logical, tokens, outputs in
      for (row, token) in tokens.enumerated() {
        let old = weights[0][logical][token] ?? 0
        output.add(outputs, row: row, times: old, to: token)
        for place in routings.indices.dropFirst() {
          let new = weights[place][logical][token] ?? 0
          differences[place].add(outputs, row: row, times: new - old, to: token)
        }
      }
    }
    let norms = output.squaredNorms
    let distances = differences.map(\.squaredNorms)
    return groups.map { rows in
      distances.map { RelativeError(distances: $0, norms: norms, rows: rows) }
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

  /// The sum of squares of each row.
  fileprivate var squaredNorms: [Double] {
    (0..<rows).map { row($0).reduce(0.0) { $0 + Double($1) * Double($1) } }
  }
}
