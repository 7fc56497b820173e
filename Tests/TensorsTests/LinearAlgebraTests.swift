// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Linear algebra") struct LinearAlgebraTests {
  /// A sum of k products in Float, in any order, is within k units of roundoff (2^-24) of the sum
  /// of the products' magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
  private let floatRoundoff = 0x1p-24
  private let doubleRoundoff = 0x1p-53

  private func random(_ rows: Int, _ columns: Int, seed: UInt64) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    return Matrix(
      rows: rows, columns: columns,
      values: (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &generator) })
  }

  private func transposed(_ a: Matrix) -> Matrix {
    Matrix(
      rows: a.columns, columns: a.rows,
      values: (0..<a.rows * a.columns).map { a[$0 % a.rows, $0 / a.rows] })
  }

  /// The first entry of `product` that is not `a · bᵀ` within the bound above.
  private func firstWrong(_ product: Matrix, _ a: Matrix, transposed b: Matrix) -> (Int, Int)? {
    for row in 0..<a.rows {
      for column in 0..<b.rows {
        let terms = zip(a.row(row), b.row(column)).map { Double($0) * Double($1) }
        let bound = Double(terms.count) * floatRoundoff * terms.reduce(0) { $0 + abs($1) }
        let error = abs(Double(product[row, column]) - terms.reduce(0, +))
        if !(error <= bound) { return (row, column) }
      }
    }
    return nil
  }

  @Test(arguments: [(1, 1, 1), (3, 5, 7), (17, 4, 33), (513, 9, 40), (1100, 32, 65), (5, 1, 600)])
  func `both products match the naive sums`(m: Int, n: Int, k: Int) {
    let a = random(m, k, seed: 1)
    let b = random(n, k, seed: 2)
    let product = LinearAlgebra.multiply(a, transposed: b)
    #expect((product.rows, product.columns) == (m, n))
    #expect(firstWrong(product, a, transposed: b) == nil)
    #expect(firstWrong(LinearAlgebra.multiply(a, transposed(b)), a, transposed: b) == nil)
  }

  @Test(arguments: [(1, 1), (7, 3), (1024, 5), (1025, 130), (2500, 300)])
  func `the Gram matrix matches the naive sums and is symmetric`(m: Int, n: Int) {
    let a = random(m, n, seed: 3)
    let gram = LinearAlgebra.gram(a)
    var naive = [Double](repeating: 0, count: n * n)
    for row in 0..<m {
      let values = a.row(row).map(Double.init)
      for i in 0..<n {
        for j in 0..<n { naive[i * n + j] += values[i] * values[j] }
      }
    }
    // Magnitudes of the terms are at most 1, so the bound is m roundoffs of m, for both sums.
    let bound = 2 * Double(m) * doubleRoundoff * Double(m)
    #expect(!zip(gram, naive).contains { !(abs($0 - $1) <= bound) })
    #expect(!(0..<n * n).contains { gram[$0] != gram[$0 % n * n + $0 / n] })
  }

  @Test func `products and Gram matrices have the same bytes for any number of threads`() {
    let a = random(2100, 300, seed: 4)
    let b = random(40, 300, seed: 5)
    let narrow = transposed(b)
    let product = LinearAlgebra.multiply(a, transposed: b, threads: 1)
    let other = LinearAlgebra.multiply(a, narrow, threads: 1)
    let gram = LinearAlgebra.gram(a, threads: 1)
    for threads in [2, 3, 16] {
      #expect(LinearAlgebra.multiply(a, transposed: b, threads: threads) == product)
      #expect(LinearAlgebra.multiply(a, narrow, threads: threads) == other)
      #expect(LinearAlgebra.gram(a, threads: threads) == gram)
    }
  }

  @Test func `empty matrices give zeros of the right shape`() {
    let none = Matrix(rows: 0, columns: 4)
    #expect(LinearAlgebra.multiply(none, transposed: Matrix(rows: 3, columns: 4)).columns == 3)
    let thin = LinearAlgebra.multiply(
      Matrix(rows: 2, columns: 0), transposed: Matrix(rows: 3, columns: 0))
    #expect(thin == Matrix(rows: 2, columns: 3))
    #expect(LinearAlgebra.gram(none) == [Double](repeating: 0, count: 16))
    #expect(LinearAlgebra.gram(Matrix(rows: 3, columns: 0)) == [])
  }

  @Test(arguments: [1, 2, 5, 40])
  func `eigenvectors are orthonormal, ordered, signed and rebuild the matrix`(n: Int) throws {
    let matrix = LinearAlgebra.gram(random(n + 3, n, seed: 6))
    let (values, vectors) = try LinearAlgebra.symmetricEigen(matrix, size: n)
    #expect(values == values.sorted(by: >))
    // dsyevd is backward stable: errors are a modest multiple (here n + 8) of roundoff times norm.
    let tolerance = Double(8 * (n + 8)) * doubleRoundoff
    for i in 0..<n {
      let largest = try #require(vectors[i].max { abs($0) < abs($1) })
      #expect(largest > 0)
      for j in 0..<n {
        let dot = zip(vectors[i], vectors[j]).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(dot - (i == j ? 1 : 0)) <= tolerance)
        let rebuilt = (0..<n).reduce(0) { $0 + values[$1] * vectors[$1][i] * vectors[$1][j] }
        #expect(abs(rebuilt - matrix[i * n + j]) <= tolerance * values[0])
      }
    }
  }

  @Test func `eigenvalues of a known matrix`() throws {
    let (values, vectors) = try LinearAlgebra.symmetricEigen([2, 1, 1, 2], size: 2)
    #expect(zip(values, [3, 1]).allSatisfy { abs($0 - $1) <= 4 * doubleRoundoff * 3 })
    #expect(vectors[0].allSatisfy { abs($0 - 0.5.squareRoot()) <= 8 * doubleRoundoff })
    let empty = try LinearAlgebra.symmetricEigen([], size: 0)
    #expect(empty.values.isEmpty && empty.vectors.isEmpty)
  }

  @Test(arguments: [Double.nan, .infinity])
  func `a matrix that is not finite is refused`(value: Double) {
    let error = #expect(throws: RegateError.self) {
      try LinearAlgebra.symmetricEigen([1, value, value, 1], size: 2)
    }
    #expect(error?.problem.contains("NaN or infinite") == true)
  }
}
