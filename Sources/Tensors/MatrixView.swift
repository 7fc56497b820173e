// SPDX-License-Identifier: Apache-2.0
//
// Windows into shared float storage, so that a forward pass can work on heads, token blocks and
// weight panels without copying them. Pointers stay in this file, `FloatStorage.swift`,
// `PackedMatrix.swift`, `MatrixView+Rows.swift` and `MatrixView+Triangular.swift`.
//
// SAFETY: a view is only made of the whole of its storage or of a part of another view, checked by
// the subscript, so that every value that it has lies inside.

/// A row-major window [rows, columns] with a distance between its rows.
///
/// A panel is a reference: writing through one window is seen through all others. Threads may write
/// windows that do not overlap.
package struct MatrixView: Sendable {
  let storage: FloatStorage
  let offset: Int
  package let rows: Int
  package let columns: Int
  let stride: Int

  /// New storage, whose values are whatever memory held.
  package init(rows: Int, columns: Int) {
    precondition(rows >= 0 && columns >= 0)
    self.init(
      FloatStorage(count: rows * columns), offset: 0, rows: rows, columns: columns, stride: columns)
  }

  /// The same; above `limit` bytes in a temporary file, so that the system can take its memory
  /// back.
  package init(rows: Int, columns: Int, inFileAbove limit: Int) {
    precondition(rows >= 0 && columns >= 0)
    self.init(
      FloatStorage(count: rows * columns, inFileAbove: limit), offset: 0, rows: rows,
      columns: columns, stride: columns)
  }

  private init(_ storage: FloatStorage, offset: Int, rows: Int, columns: Int, stride: Int) {
    self.storage = storage
    self.offset = offset
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }

  fileprivate init(borrowing base: UnsafeMutablePointer<Float>, rows: Int, columns: Int) {
    unsafe self.init(
      FloatStorage(borrowing: base), offset: 0, rows: rows, columns: columns, stride: columns)
  }

  /// A copy of `matrix`.
  package init(_ matrix: Matrix) {
    self.init(rows: matrix.rows, columns: matrix.columns)
    unsafe matrix.values.withUnsafeBufferPointer { values in
      guard let source = values.baseAddress else { return }
      unsafe base.update(from: source, count: values.count)
    }
  }

  /// The first value; a panel without rows or columns must not use it.
  var base: UnsafeMutablePointer<Float> { unsafe storage.base + offset }

  /// The window on some of the rows and columns.
  package subscript(rows: Range<Int>, columns: Range<Int>) -> MatrixView {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= self.rows)
    precondition(columns.lowerBound >= 0 && columns.upperBound <= self.columns)
    return MatrixView(
      storage, offset: offset + rows.lowerBound * stride + columns.lowerBound, rows: rows.count,
      columns: columns.count, stride: stride)
  }

  /// The window on some of the rows.
  package subscript(rows: Range<Int>) -> MatrixView { self[rows, 0..<columns] }

  /// A panel without gaps between its rows, each two of which stand side by side as one:
  /// [rows / 2, 2 columns].
  package var pairedRows: MatrixView {
    precondition(stride == columns && rows % 2 == 0)
    return MatrixView(
      storage, offset: offset, rows: rows / 2, columns: 2 * columns, stride: 2 * columns)
  }

  /// The window on some of the columns.
  package func columns(_ columns: Range<Int>) -> MatrixView { self[0..<rows, columns] }

  package subscript(row: Int, column: Int) -> Float {
    get {
      precondition(row >= 0 && row < rows && column >= 0 && column < columns)
      return unsafe base[row * stride + column]
    }
    nonmutating set {
      precondition(row >= 0 && row < rows && column >= 0 && column < columns)
      unsafe base[row * stride + column] = newValue
    }
  }

  /// A copy of the values.
  package var matrix: Matrix {
    let values = unsafe [Float](unsafeUninitializedCapacity: rows * columns) { result, count in
      if columns > 0, let target = result.baseAddress {
        for row in 0..<rows {
          unsafe (target + row * columns).initialize(from: base + row * stride, count: columns)
        }
      }
      count = rows * columns
    }
    return Matrix(rows: rows, columns: columns, values: values)
  }

  /// The first value of a panel without gaps between its rows.
  var contiguous: UnsafeMutablePointer<Float> {
    precondition(stride == columns || rows <= 1)
    return unsafe base
  }
}

extension Matrix {
  /// A matrix whose values `body` writes through a window that must not outlive the call.
  package init<E: Error>(
    rows: Int, columns: Int, writing body: (MatrixView) throws(E) -> Void
  ) throws(E) {
    precondition(rows >= 0 && columns >= 0)
    var failure: E?
    let values = unsafe [Float](unsafeUninitializedCapacity: rows * columns) { result, count in
      guard let base = result.baseAddress, rows * columns > 0 else { return }
      do throws(E) {
        try unsafe body(MatrixView(borrowing: base, rows: rows, columns: columns))
        count = rows * columns
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    self.init(rows: rows, columns: columns, values: values)
  }

  /// Hands a window on the values to `body`, which must neither write through it nor keep it.
  package func withView<R, E: Error>(_ body: (MatrixView) throws(E) -> R) throws(E) -> R {
    let outcome = unsafe values.withUnsafeBufferPointer { values -> Result<R, E> in
      // SAFETY: a window on no values is never read; others last as long as `values`.
      let base = unsafe values.baseAddress.map(UnsafeMutablePointer.init(mutating:))
      let panel =
        unsafe base.map { unsafe MatrixView(borrowing: $0, rows: rows, columns: columns) }
        ?? MatrixView(rows: rows, columns: columns)
      return Result { () throws(E) in try body(panel) }
    }
    return try outcome.get()
  }
}

// MARK: Products

extension MatrixView {
  /// self = a · bᵀ (+ self): a [m,k], b [n,k], self [m,n].
  package func multiply(_ a: MatrixView, transposed b: MatrixView, adding: Bool = false) {
    multiply(a, transposed: PackedMatrix(b, uses: a.rows), adding: adding)
  }

  /// self = a · b: a [m,k], b [k,n], self [m,n].
  package func multiply(_ a: MatrixView, _ b: MatrixView) {
    multiply(a, transposed: PackedMatrix(transposing: b, uses: a.rows))
  }

  /// self = a · bᵀ (+ self): a [m,k], b [n,k], self [m,n].
  package func multiply(_ a: MatrixView, transposed b: PackedMatrix, adding: Bool = false) {
    precondition(a.columns == b.columns && rows == a.rows && columns == b.rows)
    guard rows > 0, columns > 0 else { return }
    guard a.columns > 0 else { return adding ? () : fill(0) }
    b.multiply(a, into: self, adding: adding)
  }
}
