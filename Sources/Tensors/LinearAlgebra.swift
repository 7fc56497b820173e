// SPDX-License-Identifier: Apache-2.0
//
// Matrix products through BLAS, in fixed blocks of rows, each by a single-threaded call: the same
// bytes whatever the thread count (on one machine and one BLAS).

package import ByteStorage
import COpenBLAS

package enum LinearAlgebra {
  /// Rows of the left matrix per BLAS call.
  private static let blockRows = 512

  private static let singleThreaded: Void = openblas_set_num_threads(1)

  /// `a · bᵀ`: `a` [m,k], `b` [n,k], result [m,n].
  package static func multiply(_ a: Matrix, transposed b: Matrix, threads: Int = 1) -> Matrix {
    precondition(a.columns == b.columns)
    return product(a, b, columns: b.rows, transpose: CblasTrans, threads: threads)
  }

  /// `a · b`: `a` [m,k], `b` [k,n], result [m,n].
  package static func multiply(_ a: Matrix, _ b: Matrix, threads: Int = 1) -> Matrix {
    precondition(a.columns == b.rows)
    return product(a, b, columns: b.columns, transpose: CblasNoTrans, threads: threads)
  }

  private static func product(
    _ a: Matrix, _ b: Matrix, columns n: Int, transpose: CBLAS_TRANSPOSE, threads: Int
  ) -> Matrix {
    _ = singleThreaded
    let k = a.columns
    guard a.rows > 0, n > 0, k > 0 else { return Matrix(rows: a.rows, columns: n) }
    let values = [Float](unsafeUninitializedCapacity: a.rows * n) { result, count in
      // SAFETY: blocks write disjoint rows of `result`, and both inputs outlive the call.
      nonisolated(unsafe) let result = result
      a.values.withUnsafeBufferPointer { left in
        b.values.withUnsafeBufferPointer { right in
          nonisolated(unsafe) let left = left
          nonisolated(unsafe) let right = right
          forEachBlock(count: a.rows, blockSize: blockRows, threads: threads) { _, rows in
            cblas_sgemm(
              CblasRowMajor, CblasNoTrans, transpose, blasint(rows.count), blasint(n), blasint(k),
              1, left.baseAddress! + rows.lowerBound * k, blasint(k), right.baseAddress!,
              blasint(b.columns), 0, result.baseAddress! + rows.lowerBound * n, blasint(n))
          }
        }
      }
      count = a.rows * n
    }
    return Matrix(rows: a.rows, columns: n, values: values)
  }

  /// `aᵀ · a` summed in Double: `a` [m,n], result n*n values, row-major and symmetric.
  package static func gram(_ a: Matrix, threads: Int = 1) -> [Double] {
    _ = singleThreaded
    let n = a.columns
    let partials = mapBlocks(count: a.rows, blockSize: 4096, threads: threads) { _, rows in
      let block = a.values[rows.lowerBound * n..<rows.upperBound * n].map(Double.init)
      var sum = [Double](repeating: 0, count: n * n)
      cblas_dsyrk(
        CblasRowMajor, CblasUpper, CblasTrans, blasint(n), blasint(rows.count), 1, block,
        blasint(n), 0, &sum, blasint(n))
      return sum
    }
    var total = [Double](repeating: 0, count: n * n)
    for partial in partials {
      for index in total.indices { total[index] += partial[index] }
    }
    for row in 0..<n {
      for column in 0..<row { total[row * n + column] = total[column * n + row] }
    }
    return total
  }

  /// Eigenvalues, largest first, and unit eigenvectors (row i belongs to value i) of a symmetric
  /// matrix of `n * n` values. Signs are fixed: each vector's largest component is positive.
  package static func symmetricEigen(
    _ matrix: [Double], size n: Int
  ) throws(RegateError) -> (values: [Double], vectors: [[Double]]) {
    precondition(matrix.count == n * n)
    guard n > 0 else { return ([], []) }
    var a = matrix
    var values = [Double](repeating: 0, count: n)
    var size = Int32(n)
    var info: Int32 = 0
    var workSize = Int32(1 + 6 * n + 2 * n * n)
    var integerWorkSize = Int32(3 + 5 * n)
    var work = [Double](repeating: 0, count: Int(workSize))
    var integerWork = [Int32](repeating: 0, count: Int(integerWorkSize))
    var leading = size
    dsyevd_(
      "V", "U", &size, &a, &leading, &values, &work, &workSize, &integerWork, &integerWorkSize,
      &info)
    guard info == 0 else {
      throw RegateError(
        .malformed, subject: "eigenvalues", "LAPACK dsyevd returned \(info)",
        advice: "check the activations for NaN or infinite values")
    }
    // LAPACK is column-major with ascending values: column j of `a` is one contiguous vector.
    let vectors = (0..<n).reversed().map { column -> [Double] in
      let vector = Array(a[column * n..<(column + 1) * n])
      let largest = vector.max { abs($0) < abs($1) } ?? 0
      return largest < 0 ? vector.map { -$0 } : vector
    }
    return (values.reversed(), vectors)
  }
}
