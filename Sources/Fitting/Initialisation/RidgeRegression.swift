// SPDX-License-Identifier: Apache-2.0
//
// Linear least squares with a small penalty, in Double:
//
//   min |Y - X Wᵀ - 1 bᵀ|² + lambda n mean(var X) |W|²      X [T,H], Y [T,R], W [R,H], b [R]
//
// The intercept is not penalised: X and Y are centred first. One Gram matrix of [X Y] gives all
// products.

package import ByteStorage
import Routing
package import Tensors

/// The fitted map, and what it leaves.
package struct RidgeRegression: Sendable {
  /// W [R,H]
  package let weight: Matrix
  /// b [R]; 0 without intercept.
  package let bias: [Float]
  /// Mean square of Y - fit for each output, [R].
  package let residual: [Double]

  private static let penalty = 1e-5

  package init(
    inputs: Matrix, targets: Matrix, intercept: Bool = true, threads: Int
  ) throws(RegateError) {
    precondition(inputs.rows == targets.rows && inputs.rows > 0)
    let (width, outputs) = (inputs.columns, targets.columns)
    let all = width + outputs
    let tokens = Double(inputs.rows)
    let joined = inputs.joined(targets)
    var moments = LinearAlgebra.gram(joined, threads: threads).map { $0 / tokens }
    let means = intercept ? joined.columnMeans(threads: threads) : []
    if intercept {
      for row in 0..<all {
        for column in 0..<all { moments[row * all + column] -= means[row] * means[column] }
      }
    }
    var matrix = [Double](repeating: 0, count: width * width)
    var sides = [Double](repeating: 0, count: outputs * width)
    for row in 0..<width {
      for column in 0..<width { matrix[row * width + column] = moments[row * all + column] }
      for output in 0..<outputs {
        sides[output * width + row] = moments[row * all + width + output]
      }
    }
    let trace = (0..<width).reduce(0) { $0 + matrix[$1 * width + $1] } / Double(width)
    // Constant inputs carry nothing: any positive penalty gives W = 0.
    for row in 0..<width { matrix[row * width + row] += trace > 0 ? Self.penalty * trace : 1 }
    let solution = try LinearAlgebra.solveSymmetric(matrix, size: width, sides)
    weight = Matrix(rows: outputs, columns: width, values: solution.map { Float($0) })
    bias = (0..<outputs).map { output in
      guard intercept else { return 0 }
      let along = (0..<width).reduce(0) { $0 + solution[output * width + $1] * means[$1] }
      return Float(means[width + output] - along)
    }
    residual = (0..<outputs).map { output in
      // E y² - 2 w . E xy + w E xx w, with the penalised equations (E xx + c) w = E xy.
      var rest = moments[(width + output) * all + width + output]
      for row in 0..<width {
        let w = solution[output * width + row]
        let ridge = trace > 0 ? Self.penalty * trace : 1
        rest -= w * sides[output * width + row] + ridge * w * w
      }
      return max(0, rest)
    }
  }
}
