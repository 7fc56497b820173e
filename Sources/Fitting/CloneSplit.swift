// SPDX-License-Identifier: Apache-2.0
//
// How the n slots of one function share its tokens: a power diagram in the latent space with equal
// cells on the calibration set.
//
//   slot = argmax_j (z . c_j + beta_j),   c_j = j u,  beta_j = -(t_1 + ... + t_j),  j = 0..<n
//
// sends a token to cell j when u . z lies between the quantiles t_j and t_j+1: exact shares without
// iteration. The direction u decides whether the shares hold on other text. Texts differ from one
// another more in some directions than in others, so u minimises the part of its variance that
// lies between runs of consecutive tokens:
//
//   u = argmin (uᵀ B u) / (uᵀ S u)     S covariance of the function's tokens, B that of run means
//
// which also keeps each batch of consecutive tokens balanced, not only the whole.

package import ByteStorage
package import Tensors

/// The prototypes and potentials of one function's slots.
package struct CloneSplit: Sendable {
  /// c [n,R]
  package let prototypes: Matrix
  /// beta [n]
  package let potentials: [Float]

  /// Consecutive tokens that count as one text.
  private static let runTokens = 128
  /// Directions with less than this share of the largest variance are left out: rounding in the
  /// router inputs must not decide.
  private static let varianceFloor = 1e-3

  /// Splits the tokens `latent` [N,R], whose places in the calibration set are `tokens`
  /// (ascending), into `count` equal cells.
  package init(latent: Matrix, tokens: [Int], count: Int) throws(RegateError) {
    precondition(latent.rows == tokens.count && count > 0)
    let direction = try Self.stableDirection(latent, tokens)
    let projected = latent.rows == 0 ? [] : LinearAlgebra.multiply(
      latent, transposed: Matrix(rows: 1, columns: latent.columns, values: direction)).values
    let sorted = projected.sorted()
    var prototypes = Matrix(rows: count, columns: latent.columns)
    var potentials = [Float](repeating: 0, count: count)
    for cell in 1..<max(1, count) {
      for column in 0..<latent.columns {
        prototypes[cell, column] = Float(cell) * direction[column]
      }
      let upper = min(sorted.count - 1, sorted.count * cell / count)
      let border = upper > 0 ? (sorted[upper - 1] + sorted[upper]) / 2 : 0
      potentials[cell] = potentials[cell - 1] - border
    }
    self.prototypes = prototypes
    self.potentials = potentials
  }

  /// u, scaled to unit variance.
  private static func stableDirection(
    _ latent: Matrix, _ tokens: [Int]
  ) throws(RegateError) -> [Float] {
    let size = latent.columns
    guard latent.rows > 1 else { return [Float](repeating: 0, count: size) }
    let mean = latent.columnMeans(threads: 1)
    var covariance = LinearAlgebra.gram(latent).map { $0 / Double(latent.rows) }
    for row in 0..<size {
      for column in 0..<size { covariance[row * size + column] -= mean[row] * mean[column] }
    }
    let (values, vectors) = try LinearAlgebra.symmetricEigen(covariance, size: size)
    let rank = values.count { $0 > varianceFloor * values[0] && $0 > 0 }
    guard rank > 0 else { return [Float](repeating: 0, count: size) }
    // Rows map latent vectors to unit variance in every kept direction.
    let whitening = Matrix(
      rows: rank, columns: size,
      values: (0..<rank).flatMap { index in
        vectors[index].map { Float($0 / values[index].squareRoot()) }
      })
    let means = runMeans(latent, tokens, around: mean)
    let between = LinearAlgebra.gram(LinearAlgebra.multiply(means, transposed: whitening))
    let stable = try LinearAlgebra.symmetricEigen(between, size: rank).vectors[rank - 1]
    var direction = [Float](repeating: 0, count: size)
    for index in 0..<rank {
      for column in 0..<size {
        direction[column] += Float(stable[index]) * whitening[index, column]
      }
    }
    return direction
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
