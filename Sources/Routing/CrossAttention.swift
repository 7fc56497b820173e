// SPDX-License-Identifier: Apache-2.0
//
// LPR's cross-attention similarity, one head of width R:
//
//   q = g_q RMS(mu · Wqᵀ + bq)      [T,R]     RMS(x) = x / sqrt(mean x² + 1e-6)
//   k = g_k RMS(p · Wkᵀ + bk)       [F,R]
//   s = q . k / sqrt(R)             [T,F]
//
// The norms' weights g make it the one bounded similarity whose scale can grow.

package import Tensors

/// What the cross-attention similarity learns.
package struct CrossAttention: Sendable, Equatable {
  /// Qwen's and LPR's epsilon inside the root.
  package static let epsilon = 1e-6

  /// A projection and the norm after it.
  package struct Side: Sendable, Equatable {
    /// W [R,R]
    package var weight: Matrix
    /// b [R]
    package var bias: [Float]
    /// g [R]
    package var norm: [Float]

    package init(weight: Matrix, bias: [Float], norm: [Float]) {
      precondition(weight.rows == weight.columns)
      precondition(bias.count == weight.rows && norm.count == weight.rows)
      self.weight = weight
      self.bias = bias
      self.norm = norm
    }

    /// x · Wᵀ + b
    package func projected(_ rows: Matrix, threads: Int) -> Matrix {
      var result = LinearAlgebra.multiply(rows, transposed: weight, threads: threads)
      result.add(toEachRow: bias)
      return result
    }

    /// g RMS(x) of projected rows.
    package func normalised(_ projected: Matrix) -> Matrix {
      let width = projected.columns
      var result = projected
      for (row, norm) in projected.rowNorms().enumerated() {
        let scale = CrossAttention.scale(norm: norm, width: width)
        for column in 0..<width { result.values[row * width + column] *= scale * self.norm[column] }
      }
      return result
    }
  }

  package var query: Side
  package var key: Side

  package init(query: Side, key: Side) {
    precondition(query.weight.rows == key.weight.rows)
    self.query = query
    self.key = key
  }

  /// 1 / sqrt(mean x² + epsilon) of a row of the given norm.
  package static func scale(norm: Float, width: Int) -> Float {
    let square = Double(norm) * Double(norm) / Double(width)
    return Float(1 / (square + epsilon).squareRoot())
  }

  /// s [T,F]
  func values(_ mean: Matrix, prototypes: Matrix, threads: Int) -> Matrix {
    var keys = key.normalised(key.projected(prototypes, threads: 1))
    let scale = 1 / Float(prototypes.columns).squareRoot()
    for index in keys.values.indices { keys.values[index] *= scale }
    return LinearAlgebra.multiply(
      query.normalised(query.projected(mean, threads: threads)), transposed: keys,
      threads: threads)
  }
}
