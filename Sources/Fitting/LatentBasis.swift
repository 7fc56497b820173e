// SPDX-License-Identifier: Apache-2.0
//
// The latent space of the prototype router, from the activation-weighted SVD of the gate.
//
//   l = W x + bias          original logits [T,E], mean m, covariance S over the calibration set
//   S = U diag(v) Uᵀ        leading R eigenvectors U_R [E,R]
//   z = U_Rᵀ W x            encoder U_Rᵀ W [R,H]
//   l' = U_R z + a          prototypes U_R [E,R], a = m - U_R U_Rᵀ W x_mean: the mean stays exact
//
// U_R minimises E |l - l'|² over all rank-R routers: it is the SVD of W C^1/2, C the covariance of
// the router inputs, computed on the small side. Where the score function does not see a shift of
// all logits (softmax), the shift is taken out first. R = E leaves nothing out.

package import ByteStorage
package import Routing
package import Tensors

/// Encoder and prototypes of logical experts for every latent size of one gate.
package struct LatentBasis: Sendable {
  private let gate: Matrix
  private let vectors: [[Double]]
  private let values: [Double]
  /// The mean of the logits, and of the logits without bias.
  private let mean: [Double]
  private let linearMean: [Double]

  /// `logits` [T,E] are those of `router` on the calibration set.
  package init(router: FamilyRouter, logits: Matrix, threads: Int) throws(RegateError) {
    let count = logits.columns
    let tokens = Double(max(1, logits.rows))
    let shiftFree = router.rule.isShiftInvariant
    var mean = logits.columnMeans(threads: threads)
    var covariance = LinearAlgebra.gram(logits, threads: threads).map { $0 / tokens }
    for row in 0..<count {
      for column in 0..<count { covariance[row * count + column] -= mean[row] * mean[column] }
    }
    var linearMean = mean
    if let bias = router.logitBias { for row in 0..<count { linearMean[row] -= Double(bias[row]) } }
    var gate = router.gate
    if shiftFree {
      Self.centre(&covariance, size: count)
      gate.removeMeanRow()
      let shift = mean.reduce(0, +) / Double(count)
      let linearShift = linearMean.reduce(0, +) / Double(count)
      for row in 0..<count {
        mean[row] -= shift
        linearMean[row] -= linearShift
      }
    }
    (values, vectors) = try LinearAlgebra.symmetricEigen(covariance, size: count)
    self.gate = gate
    self.mean = mean
    self.linearMean = linearMean
  }

  /// P S P with P = 1 - 11ᵀ/E.
  private static func centre(_ matrix: inout [Double], size: Int) {
    let means = (0..<size).map { row in
      matrix[row * size..<(row + 1) * size].reduce(0, +) / Double(size)
    }
    let grand = means.reduce(0, +) / Double(size)
    for row in 0..<size {
      for column in 0..<size { matrix[row * size + column] += grand - means[row] - means[column] }
    }
  }

  /// E.
  package var fullSize: Int { values.count }

  /// The share of the logits' variance that `size` dimensions keep.
  package func explainedVariance(size: Int) -> Double {
    let total = values.reduce(0) { $0 + max(0, $1) }
    return total > 0 ? values.prefix(size).reduce(0) { $0 + max(0, $1) } / total : 1
  }

  /// The smallest size that keeps `share` of the variance.
  package func size(keeping share: Double) -> Int {
    (1...fullSize).first { explainedVariance(size: $0) >= share } ?? fullSize
  }

  /// [R,H]
  package func encoder(size: Int) -> Matrix {
    let rows = Matrix(
      rows: size, columns: fullSize, values: vectors.prefix(size).flatMap { $0.map { Float($0) } })
    return LinearAlgebra.multiply(rows, gate)
  }

  /// [E,R]
  package func prototypes(size: Int) -> Matrix {
    var prototypes = Matrix(rows: fullSize, columns: size)
    for component in 0..<size {
      for row in 0..<fullSize { prototypes[row, component] = Float(vectors[component][row]) }
    }
    return prototypes
  }

  /// a [E]
  package func bias(size: Int) -> [Float] {
    var bias = mean
    for vector in vectors.prefix(size) {
      let projection = zip(vector, linearMean).reduce(0) { $0 + $1.0 * $1.1 }
      for row in bias.indices { bias[row] -= projection * vector[row] }
    }
    return bias.map { Float($0) }
  }
}

extension RoutingRule {
  /// Whether adding one number to all logits of a token leaves the routing as it is.
  package var isShiftInvariant: Bool { scoring == .softmax || scoring == .softmaxOfSelected }
}

extension Matrix {
  /// Subtracts the mean of all rows from each row.
  fileprivate mutating func removeMeanRow() {
    let mean = columnMeans(threads: 1)
    for row in 0..<rows {
      for column in 0..<columns { values[row * columns + column] -= Float(mean[column]) }
    }
  }
}
