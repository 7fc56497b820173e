// SPDX-License-Identifier: Apache-2.0
//
// How the n clones of one logical expert share its tokens: a power diagram in the latent space with
// equal cells on the calibration set.
//
//   clone = argmax_j (z . c_j + beta_j),   c_j = j u,  beta_j = -(t_1 + ... + t_j),  j = 0..<n
//
// sends a token to cell j when u . z lies between the quantiles t_j and t_j+1: exact shares without
// iteration. The direction u decides whether the shares hold on other text. Texts differ from one
// another more in some directions than in others, so u minimises the part of its variance that
// lies between runs of consecutive tokens:
//
//   u = argmin (uᵀ B u) / (uᵀ S u)     S covariance of the expert's tokens, B that of run means
//
// (TextAxes.swift), which also keeps each batch of consecutive tokens balanced, not only the whole.

package import ByteStorage
package import Tensors

/// The prototypes and biases of one logical expert's clones.
package struct CloneSplit: Sendable {
  /// c [n,R]
  package let prototypes: Matrix
  /// beta [n]
  package let bias: [Float]

  /// Splits the tokens `latent` [N,R], whose places in the calibration set are `tokens`
  /// (ascending), into `count` equal cells.
  package init(latent: Matrix, tokens: [Int], count: Int) throws(RegateError) {
    precondition(latent.rows == tokens.count && count > 0)
    let direction = try Self.stableDirection(latent, tokens)
    let projected =
      latent.rows == 0
      ? []
      : LinearAlgebra.multiply(
        latent, transposed: Matrix(rows: 1, columns: latent.columns, values: direction)
      ).values
    let sorted = projected.sorted()
    var prototypes = Matrix(rows: count, columns: latent.columns)
    var bias = [Float](repeating: 0, count: count)
    for cell in 1..<max(1, count) {
      for column in 0..<latent.columns {
        prototypes[cell, column] = Float(cell) * direction[column]
      }
      let upper = min(sorted.count - 1, sorted.count * cell / count)
      let border = upper > 0 ? (sorted[upper - 1] + sorted[upper]) / 2 : 0
      bias[cell] = bias[cell - 1] - border
    }
    self.prototypes = prototypes
    self.bias = bias
  }

  /// u [R], scaled to unit variance.
  private static func stableDirection(
    _ latent: Matrix, _ tokens: [Int]
  ) throws(RegateError) -> [Float] {
    let axes = try TextAxes(latent: latent, tokens: tokens).axes
    guard axes.rows > 0 else { return [Float](repeating: 0, count: latent.columns) }
    return Array(axes.row(axes.rows - 1))
  }
}
