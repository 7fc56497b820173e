// SPDX-License-Identifier: Apache-2.0
//
// In which directions of the latent space texts differ. Runs of consecutive tokens stand for texts:
//
//   S   covariance of the tokens,  B   covariance of the means of runs, weighted by their tokens
//   u_i with  u_iᵀ S u_j = [i = j],  u_iᵀ B u_i = share_i, falling,  u_iᵀ B u_j = 0 elsewhere
//
// Where texts do not differ, a run of n tokens has a share of 1/n from chance.

package import ByteStorage
import Routing
package import Tensors

/// Uncorrelated directions of unit variance, ordered by how much texts differ in them.
package struct TextAxes: Sendable {
  /// The mean of the tokens, [R].
  package let mean: [Double]
  /// u [A,R]; A is the number of directions in which the tokens vary.
  package let axes: Matrix
  /// The share of each direction's variance that lies between runs, [A], falling.
  package let shares: [Double]

  /// Consecutive tokens that count as one text.
  private static let runTokens = 128
  /// Directions with less than this share of the largest variance are left out: rounding in the
  /// router inputs must not decide.
  private static let varianceFloor = 1e-3

  /// Of the tokens `latent` [N,R], whose places in the calibration set are `tokens`, ascending.
  package init(latent: Matrix, tokens: [Int]) throws(RegateError) {
    precondition(latent.rows == tokens.count)
    let size = latent.columns
    let mean = latent.columnMeans(threads: 1)
    self.mean = mean
    guard latent.rows > 1 else {
      axes = Matrix(rows: 0, columns: size)
      shares = []
      return
    }
    var covariance = LinearAlgebra.gram(latent).map { $0 / Double(latent.rows) }
    for row in 0..<size {
      for column in 0..<size { covariance[row * size + column] -= mean[row] * mean[column] }
    }
    let (values, vectors) = try LinearAlgebra.symmetricEigen(covariance, size: size)
    let rank = values.count { $0 > Self.varianceFloor * values[0] && $0 > 0 }
    guard rank > 0 else {
      axes = Matrix(rows: 0, columns: size)
      shares = []
      return
    }
    // Rows map latent vectors to unit variance in every kept direction.
    let whitening = Matrix(
      rows: rank, columns: size,
      values: (0..<rank).flatMap { index in
        vectors[index].map { Float($0 / values[index].squareRoot()) }
      })
    let means = Self.runMeans(latent, tokens, around: mean)
    let between = LinearAlgebra.gram(LinearAlgebra.multiply(means, transposed: whitening))
      .map { $0 / Double(latent.rows) }
    let (shares, rotation) = try LinearAlgebra.symmetricEigen(between, size: rank)
    self.shares = shares
    axes = LinearAlgebra.multiply(
      Matrix(
        rows: rank, columns: rank, values: rotation.flatMap { $0.map { Float($0) } }), whitening)
  }

  /// The coordinates [N,A] of `latent` [N,R].
  package func coordinates(_ latent: Matrix, threads: Int) -> Matrix {
    var coordinates = LinearAlgebra.multiply(latent, transposed: axes, threads: threads)
    coordinates.add(
      toEachRow: (0..<axes.rows).map { index in
        -Float(zip(axes.row(index), mean).reduce(0.0) { $0 + Double($1.0) * $1.1 })
      })
    return coordinates
  }

  /// Deviations of the means of runs from the mean of all, each times the root of its tokens.
  private static func runMeans(_ latent: Matrix, _ tokens: [Int], around mean: [Double]) -> Matrix {
    var rows: [Float] = []
    var start = 0
    while start < tokens.count {
      let run = tokens[start] / runTokens
      var end = start
      var sum = [Double](repeating: 0, count: latent.columns)
      while end < tokens.count, tokens[end] / runTokens == run {
        for column in sum.indices { sum[column] += Double(latent[end, column]) - mean[column] }
        end += 1
      }
      let root = Double(end - start).squareRoot()
      rows += sum.map { Float($0 / root) }
      start = end
    }
    return Matrix(
      rows: rows.count / latent.columns, columns: latent.columns, values: rows)
  }
}
