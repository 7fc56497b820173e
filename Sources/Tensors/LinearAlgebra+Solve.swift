// SPDX-License-Identifier: Apache-2.0

package import ByteStorage
import COpenBLAS

extension LinearAlgebra {
  /// x of `a x = b` for a symmetric positive definite `a` (n * n values, row-major) and several
  /// right-hand sides: `b` holds vectors of n values one after the other. By
  /// LAPACK's Cholesky factorisation, in Double.
  package static func solveSymmetric(
    _ a: [Double], size n: Int, _ b: [Double]
  ) throws(RegateError) -> [Double] {
    openblas_set_num_threads(1)
    precondition(a.count == n * n && n > 0 && n <= 32_000 && b.count.isMultiple(of: n))
    // LAPACK may not return from NaN.
    guard a.allSatisfy(\.isFinite), b.allSatisfy(\.isFinite) else {
      throw RegateError(
        .malformed, subject: "least squares", "the equations hold NaN or infinite values",
        advice: "check the activations for NaN or infinite values")
    }
    guard !b.isEmpty else { return [] }
    var factor = a
    var result = b
    var size = Int32(n)
    var leading = size
    var other = size
    var sides = Int32(b.count / n)
    var info: Int32 = 0
    // SAFETY: `factor` holds n * n values and `result` n for each of the right-hand sides: checked.
    unsafe dposv_("U", &size, &sides, &factor, &leading, &result, &other, &info)
    guard info == 0 else {
      throw RegateError(
        .unreached, subject: "least squares",
        "the equations are singular (LAPACK dposv returned \(info))",
        advice: "use more calibration tokens")
    }
    return result
  }
}
