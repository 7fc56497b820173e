// SPDX-License-Identifier: Apache-2.0
//
// Matrix products in fixed blocks of rows, each by a single-threaded call: the same bytes whatever
// the thread count (on one machine and one BLAS).

package import ByteStorage
import COpenBLAS

package enum LinearAlgebra {
  /// Rows of the left matrix per call.
  private static let blockRows = 512
  /// Rows that are widened to Double at a time, and rows of the result per BLAS call, in `gram`.
  private static let gramRows = 1024
  private static let gramView = 128

  /// `a · bᵀ`: `a` [m,k], `b` [n,k], result [m,n].
  package static func multiply(_ a: Matrix, transposed b: Matrix, threads: Int = 1) -> Matrix {
    precondition(a.columns == b.columns)
    return b.withView { b in product(a, PackedMatrix(b, uses: a.rows), threads: threads) }
  }

  /// `a · b`: `a` [m,k], `b` [k,n], result [m,n].
  package static func multiply(_ a: Matrix, _ b: Matrix, threads: Int = 1) -> Matrix {
    precondition(a.columns == b.rows)
    return b.withView { b in
      product(a, PackedMatrix(transposing: b, uses: a.rows), threads: threads)
    }
  }

  private static func product(_ a: Matrix, _ b: PackedMatrix, threads: Int) -> Matrix {
    guard a.rows > 0, b.rows > 0, a.columns > 0 else {
      return Matrix(rows: a.rows, columns: b.rows)
    }
    return a.withView { a in
      Matrix(rows: a.rows, columns: b.rows) { result in
        forEachBlock(count: a.rows, blockSize: blockRows, threads: threads) { _, rows in
          result[rows].multiply(a[rows], transposed: b)
        }
      }
    }
  }

  /// `aᵀ · a` summed in Double: `a` [m,n], result n*n values, row-major and symmetric.
  ///
  /// Row blocks are added one after the other; threads share out the columns of the result, so that
  /// memory is bounded by the result and one block whatever the thread count.
  package static func gram(_ a: Matrix, threads: Int = 1) -> [Double] {
    _ = BLAS.ready
    let n = a.columns
    var total = [Double](repeating: 0, count: n * n)
    guard n > 0 else { return total }
    for start in stride(from: 0, to: a.rows, by: gramRows) {
      let rows = min(gramRows, a.rows - start)
      let block = a.values[start * n..<(start + rows) * n].map(Double.init)
      addGram(of: block, rows: rows, columns: n, to: &total, threads: threads)
    }
    for row in 0..<n {
      for column in 0..<row { total[row * n + column] = total[column * n + row] }
    }
    return total
  }

  /// Adds `blockᵀ · block` to the upper triangle of `total`, in panels of its rows.
  private static func addGram(
    of block: [Double], rows: Int, columns n: Int, to total: inout [Double], threads: Int
  ) {
    precondition(block.count == rows * n && total.count == n * n)
    unsafe total.withUnsafeMutableBufferPointer { result in
      unsafe block.withUnsafeBufferPointer { values in
        guard let firstResult = result.baseAddress, let firstValue = values.baseAddress else {
          return
        }
        // SAFETY: panels write disjoint rows of `result`, and both buffers outlive the call.
        nonisolated(unsafe) let (result, values) = unsafe (firstResult, firstValue)
        forEachBlock(count: n, blockSize: gramView, threads: threads) { _, panel in
          let first = panel.lowerBound
          // SAFETY: `values` holds [rows,n], `result` [n,n]: checked above.
          unsafe cblas_dgemm(
            CblasRowMajor, CblasTrans, CblasNoTrans, blasint(panel.count), blasint(n - first),
            blasint(rows), 1, values + first, blasint(n), values + first, blasint(n), 1,
            result + first * n + first, blasint(n))
        }
      }
    }
  }

  /// Eigenvalues, largest first, and unit eigenvectors (row i belongs to value i) of a symmetric
  /// matrix of `n * n` values. Signs are fixed: each vector's largest component is positive.
  package static func symmetricEigen(
    _ matrix: [Double], size n: Int
  ) throws(RegateError) -> (values: [Double], vectors: [[Double]]) {
    _ = BLAS.ready
    // dsyevd counts its workspace of 2n² + 6n + 1 values in Int32.
    precondition(matrix.count == n * n && n <= 32_000)
    guard n > 0 else { return ([], []) }
    // LAPACK may not return from NaN.
    guard matrix.allSatisfy(\.isFinite) else {
      throw RegateError(
        .malformed, subject: "eigenvalues", "the matrix holds NaN or infinite values",
        advice: "check the activations for NaN or infinite values")
    }
    var a = matrix
    var values = [Double](repeating: 0, count: n)
    var size = Int32(n)
    var info: Int32 = 0
    var workSize = Int32(1 + 6 * n + 2 * n * n)
    var integerWorkSize = Int32(3 + 5 * n)
    var work = [Double](repeating: 0, count: Int(workSize))
    var integerWork = [Int32](repeating: 0, count: Int(integerWorkSize))
    var leading = size
    // SAFETY: the arrays have the sizes that LAPACK's manual asks for and that are given with them.
    unsafe dsyevd_(
      "V", "U", &size, &a, &leading, &values, &work, &workSize, &integerWork, &integerWorkSize,
      &info)
    guard info == 0 else {
      throw RegateError(
        .unreached, subject: "eigenvalues",
        "LAPACK dsyevd did not converge and returned \(info)",
        advice: "check the activations for very large values")
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
