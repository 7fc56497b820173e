// SPDX-License-Identifier: Apache-2.0
//
// What a gate matrix [E,H] itself tells: row norms, the nearest pair of rows, and the effective
// rank exp(-sum p log p), p = s / sum s over its singular values s (Roy and Vetterli 2007).

package import ByteStorage
import Foundation
package import Tensors

/// Figures of one gate.
public struct GateStatistics: Sendable, Hashable {
  /// Euclidean norm of each row [E].
  public let rowNorms: [Double]
  /// Each row's largest signed cosine with another row [E]; nil for a row of zeros, or without
  /// another.
  public let nearestCosines: [Double?]
  /// Least of `rowNorms`.
  public let minRowNorm: Double
  /// Mean of `rowNorms`.
  public let meanRowNorm: Double
  /// Largest of `rowNorms`.
  public let maxRowNorm: Double
  /// The largest signed cosine between two different rows; nil with fewer than two non-zero rows.
  public let maxCosine: Double?
  /// Nil for a gate of zeros.
  public let effectiveRank: Double?
  /// Smallest and largest bias; nil without one, or where it is not finite.
  public let biasRange: ClosedRange<Double>?

  package init(gate: Matrix, bias: [Float]? = nil) throws(RegateError) {
    precondition(gate.rows > 0)
    // Singular values come from the E x E Gram: gates are wide.
    let count = gate.rows
    let gram = LinearAlgebra.gram(gate.transposed())
    let norms = (0..<count).map { max(0, gram[$0 * count + $0]).squareRoot() }
    minRowNorm = norms.min() ?? 0
    maxRowNorm = norms.max() ?? 0
    meanRowNorm = norms.reduce(0, +) / Double(count)

    rowNorms = norms

    var nearest = [Double?](repeating: nil, count: count)
    for row in 0..<count where norms[row] > 0 {
      for other in 0..<row where norms[other] > 0 {
        let cosine = gram[row * count + other] / (norms[row] * norms[other])
        nearest[row] = max(nearest[row] ?? -1, cosine)
        nearest[other] = max(nearest[other] ?? -1, cosine)
      }
    }
    nearestCosines = nearest
    maxCosine = nearest.compactMap { $0 }.max()

    let singular = try LinearAlgebra.symmetricEigen(gram, size: count).values
      .map { max(0, $0).squareRoot() }
    let sum = singular.reduce(0, +)
    effectiveRank =
      sum > 0
      ? exp(singular.reduce(0) { $1 > 0 ? $0 - $1 / sum * log($1 / sum) : $0 }) : nil

    if let bias, let low = bias.min(), let high = bias.max(), bias.allSatisfy(\.isFinite) {
      biasRange = Double(low)...Double(high)
    } else {
      biasRange = nil
    }
  }

  /// The cosines of all pairs of rows [E,E]; NaN where a row is zero.
  package static func cosines(of gate: Matrix) -> Matrix {
    let count = gate.rows
    let gram = LinearAlgebra.gram(gate.transposed())
    let norms = (0..<count).map { max(0, gram[$0 * count + $0]).squareRoot() }
    var result = Matrix(rows: count, columns: count)
    for row in 0..<count {
      for other in 0..<count {
        result[row, other] = Float(gram[row * count + other] / (norms[row] * norms[other]))
      }
    }
    return result
  }
}
