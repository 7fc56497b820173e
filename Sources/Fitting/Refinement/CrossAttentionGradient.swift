// SPDX-License-Identifier: Apache-2.0
//
// Gradients through s = q kᵀ / sqrt(R), q = g x r, r = 1 / sqrt(mean x² + 1e-6), x = mu Wᵀ + b:
//
//   dg = sum dq x r      dn = dq g      dx = r dn - x r³ mean(dn x)      dW = dxᵀ mu, db = sum dx
//
// and the same for the keys.

package import Routing
package import Tensors

extension CrossAttention {
  package func gradient(
    _ mean: Matrix, prototypes: Matrix, upstream: Matrix, threads: Int
  ) -> SimilarityGradient {
    let scale = 1 / Float(prototypes.columns).squareRoot()
    var upstream = upstream
    for index in upstream.values.indices { upstream.values[index] *= scale }
    let queries = query.projected(mean, threads: threads)
    let keys = key.projected(prototypes, threads: 1)
    let queryGradient = LinearAlgebra.multiply(
      upstream, key.normalised(keys), threads: threads)
    let keyGradient = LinearAlgebra.multiply(
      upstream.transposed(), query.normalised(queries), threads: threads)
    let tokens = query.gradient(input: mean, projected: queries, upstream: queryGradient)
    let others = key.gradient(input: prototypes, projected: keys, upstream: keyGradient)
    return SimilarityGradient(
      mean: tokens.input, prototypes: others.input,
      parameters: tokens.parameters + others.parameters)
  }
}

extension CrossAttention.Side {
  fileprivate func gradient(
    input: Matrix, projected: Matrix, upstream: Matrix
  ) -> (input: Matrix, parameters: [Matrix]) {
    let width = projected.columns
    var normTerms = upstream
    var inner = upstream
    for (row, length) in projected.rowNorms().enumerated() {
      let scale = CrossAttention.scale(norm: length, width: width)
      var along = 0.0
      for column in 0..<width {
        let index = row * width + column
        normTerms.values[index] = upstream.values[index] * projected.values[index] * scale
        inner.values[index] = upstream.values[index] * norm[column]
        along += Double(inner.values[index]) * Double(projected.values[index])
      }
      let pull = Float(along / Double(width)) * scale * scale * scale
      for index in row * width..<(row + 1) * width {
        inner.values[index] = scale * inner.values[index] - pull * projected.values[index]
      }
    }
    return (
      LinearAlgebra.multiply(inner, weight),
      [
        LinearAlgebra.multiply(inner.transposed(), input), inner.columnSums(),
        normTerms.columnSums(),
      ]
    )
  }
}
