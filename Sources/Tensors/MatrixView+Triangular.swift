// SPDX-License-Identifier: Apache-2.0

import COpenBLAS

extension MatrixView {
  /// self = L⁻¹ · self: L [rows, rows] has ones on its diagonal, whatever it holds there, and zeros
  /// above it.
  package func solve(unitLower l: MatrixView) {
    precondition(l.rows == rows && l.columns == rows)
    guard rows > 0, columns > 0 else { return }
    _ = BLAS.ready
    // SAFETY: both windows lie inside their storage, whose shapes were compared.
    unsafe cblas_strsm(
      CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasUnit, blasint(rows),
      blasint(columns), 1, l.base, blasint(l.stride), base, blasint(stride))
  }
}
