// SPDX-License-Identifier: Apache-2.0
//
// The right matrix of a product a · bᵀ, b [rows, columns]: in bfloat16 parts for the tile unit or,
// where one part is enough, the vectors of CPUs that have them (CKernels/TileKernels.h); else,
// where it is quantised and the CPU has the instructions, in 8-bit integers
// (CKernels/IntegerKernels.h); else in float32, for BLAS. A weight is packed once and then applied
// to many blocks of tokens.

import CKernels
import COpenBLAS

/// The right matrix [rows, columns] of products a · bᵀ.
package struct PackedMatrix: Sendable {
  private enum Form {
    /// [rows, columns], or turned: [columns, rows].
    case plain(MatrixView, turned: Bool)
    /// [rows, columns], rounded to bfloat16, as what it is multiplied with will be.
    case rounded(MatrixView)
    case tiles(FloatStorage, ProductPrecision, rg_tile_path)
    case integers(FloatStorage)
  }

  private let form: Form
  /// The whole matrix; packed forms cannot be addressed row by row.
  private let wholeRows: Int
  private let wholeColumns: Int
  private let firstRow: Int
  private let firstColumn: Int
  package let rows: Int
  package let columns: Int

  /// Rows of a window must begin at a multiple of it, and so must those of `write`.
  package static let rowUnit = rg_tile_rows
  /// Columns of a window must begin at a multiple of it.
  package static let columnUnit = rg_tile_columns
  /// Rows of the left matrix, and multiplications in all, from which on packing pays.
  private static let leastUses = 128
  private static let leastProducts = 1 << 20

  private init(
    _ form: Form, rows: Int, columns: Int, first: (row: Int, column: Int) = (0, 0),
    whole: (rows: Int, columns: Int)? = nil
  ) {
    self.form = form
    self.rows = rows
    self.columns = columns
    (firstRow, firstColumn) = first
    (wholeRows, wholeColumns) = whole ?? (rows, columns)
  }

  /// A matrix to be written.
  package init(rows: Int, columns: Int, precision: ProductPrecision) {
    let form =
      Self.packedForm(rows: rows, columns: columns, precision: precision)
      ?? .plain(MatrixView(rows: rows, columns: columns), turned: false)
    self.init(form, rows: rows, columns: columns)
  }

  /// Bytes that a matrix takes in the form that this CPU works with fastest.
  package static func bytes(rows: Int, columns: Int, precision: ProductPrecision) -> Int {
    if precision.tilePath != nil { return rg_tiles_bytes(rows, columns, Int32(precision.right)) }
    return precision == .quantised && rg_integers_available() != 0
      ? rg_integers_bytes(rows, columns) : MemoryLayout<Float>.size * rows * columns
  }

  /// The form that this CPU works with fastest; nil: as it is.
  private static func packedForm(rows: Int, columns: Int, precision: ProductPrecision) -> Form? {
    let bytes = bytes(rows: rows, columns: columns, precision: precision)
    if let path = precision.tilePath { return .tiles(FloatStorage(bytes: bytes), precision, path) }
    if precision == .bfloats { return .rounded(MatrixView(rows: rows, columns: columns)) }
    guard precision == .quantised, rg_integers_available() != 0 else { return nil }
    return .integers(FloatStorage(bytes: bytes))
  }

  /// `panel` for `uses` rows of a left matrix; where those are few, a window on it.
  package init(_ panel: MatrixView, uses: Int) {
    guard Self.isWorthPacking(panel, uses: uses) else {
      self.init(.plain(panel, turned: false), rows: panel.rows, columns: panel.columns)
      return
    }
    self.init(packing: panel)
  }

  /// `panel` for any number of uses; a window on it, where products run in BLAS.
  package init(packing panel: MatrixView, precision: ProductPrecision = .full) {
    let form =
      Self.packedForm(rows: panel.rows, columns: panel.columns, precision: precision)
      ?? .plain(panel, turned: false)
    self.init(form, rows: panel.rows, columns: panel.columns)
    pack(panel, at: 0)
  }

  /// `panel` with rows and columns exchanged, for `uses` rows of a left matrix.
  package init(transposing panel: MatrixView, uses: Int) {
    guard Self.isWorthPacking(panel, uses: uses) else {
      self.init(.plain(panel, turned: true), rows: panel.columns, columns: panel.rows)
      return
    }
    self.init(rows: panel.columns, columns: panel.rows, precision: .full)
    pack(panel, at: 0, turned: true)
  }

  private static func isWorthPacking(_ panel: MatrixView, uses: Int) -> Bool {
    ProductPrecision.full.tilePath != nil && uses >= leastUses
      && uses * panel.rows * panel.columns >= leastProducts
  }

  /// The window on some of the rows and columns.
  package subscript(rows: Range<Int>, columns: Range<Int>) -> PackedMatrix {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= self.rows)
    precondition(columns.lowerBound >= 0 && columns.upperBound <= self.columns)
    precondition(rows.lowerBound % Self.rowUnit == 0)
    precondition(columns.lowerBound % Self.columnUnit == 0)
    return PackedMatrix(
      form, rows: rows.count, columns: columns.count,
      first: (firstRow + rows.lowerBound, firstColumn + columns.lowerBound),
      whole: (wholeRows, wholeColumns))
  }

  // MARK: Writing

  /// Has `body` write the rows of `range`, which must end at a multiple of `rowUnit` too or at the
  /// last row. Threads may write ranges that do not overlap.
  package func write<E: Error>(
    _ range: Range<Int>, _ body: (MatrixView) throws(E) -> Void
  ) throws(E) {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    precondition(range.lowerBound % Self.rowUnit == 0)
    precondition(range.upperBound % Self.rowUnit == 0 || range.upperBound == rows)
    if case .plain(let panel, turned: false) = form { return try body(panel[range]) }
    let panel = MatrixView(rows: range.count, columns: columns)
    try body(panel)
    pack(panel, at: range.lowerBound)
  }

  /// Whether `write(_:bfloats:)` may be called.
  package var takesBFloats: Bool {
    if case .tiles(_, let precision, _) = form { precision.right == 1 } else { false }
  }

  /// Writes the rows of `range` as `write` does, from bfloat16 numbers without gaps.
  package func write(_ range: Range<Int>, bfloats bytes: RawSpan) {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows)
    precondition(range.lowerBound % Self.rowUnit == 0)
    precondition(range.upperBound % Self.rowUnit == 0 || range.upperBound == rows)
    precondition(bytes.byteCount == 2 * range.count * columns)
    guard case .tiles(let storage, let precision, _) = form, precision.right == 1 else {
      preconditionFailure("takes no bfloat16")
    }
    // SAFETY: `bytes` holds as many numbers, compared above; else as in `pack`.
    unsafe bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      unsafe rg_tiles_pack(
        rg_tile_source(numbers: base, stride: columns, form: rg_tile_rows_bf16), rows, columns,
        range.lowerBound, range.count, 1, storage.base)
    }
  }

  /// Packs `panel` as rows from `first` on, where the form is a packed one. Only tiles are turned.
  private func pack(_ panel: MatrixView, at first: Int, turned: Bool = false) {
    guard rows > 0, columns > 0 else { return }
    // SAFETY: the storage holds what `rg_..._bytes` says for this shape, and the rows that are
    // written lie inside it: checked by `write`, all rows elsewhere.
    switch form {
    case .plain: break
    case .rounded(let whole): whole[first..<first + panel.rows].round(panel)
    case .tiles(let storage, let precision, _):
      let source = unsafe rg_tile_source(
        numbers: panel.base, stride: panel.stride,
        form: turned ? rg_tile_columns_f32 : rg_tile_rows_f32)
      unsafe rg_tiles_pack(
        source, rows, columns, first, turned ? panel.columns : panel.rows,
        Int32(precision.right), storage.base)
    case .integers(let storage):
      unsafe rg_integers_pack(panel.base, panel.stride, columns, first, panel.rows, storage.base)
    }
  }

  // MARK: Products

  /// result = a · selfᵀ (+ result). Shapes were compared by the caller; none is empty.
  func multiply(_ a: MatrixView, into result: MatrixView, adding: Bool) {
    switch form {
    case .plain(let panel, let turned):
      let window =
        turned
        ? panel[firstColumn..<firstColumn + columns, firstRow..<firstRow + rows]
        : panel[firstRow..<firstRow + rows, firstColumn..<firstColumn + columns]
      Self.multiplyPlain(a, window, turned: turned, into: result, adding: adding)
    case .rounded(let panel):
      let window = panel[firstRow..<firstRow + rows, firstColumn..<firstColumn + columns]
      let left = MatrixView(rows: a.rows, columns: a.columns)
      left.round(a)
      Self.multiplyPlain(left, window, turned: false, into: result, adding: adding)
    case .tiles(let storage, let precision, let path):
      let scratch = FloatStorage(
        bytes: rg_tiles_scratch_bytes(a.rows, columns, Int32(precision.left)))
      // SAFETY: each window lies inside its storage, which the panels keep alive; the scratch
      // memory has the size and alignment that the kernel wants.
      withExtendedLifetime((a, result, scratch)) {
        unsafe rg_tiles_multiply(
          path, a.base, a.stride, a.rows, Int32(precision.left),
          rg_tile_matrix(
            tiles: storage.base, rows: wholeRows, columns: wholeColumns,
            parts: Int32(precision.right)),
          firstRow, rows, firstColumn, columns, result.base, result.stride, adding ? 1 : 0,
          scratch.base)
      }
    case .integers(let storage):
      let scratch = FloatStorage(bytes: rg_integers_scratch_bytes(a.rows, columns))
      // SAFETY: as for tiles.
      withExtendedLifetime((a, result, scratch)) {
        unsafe rg_integers_multiply(
          a.base, a.stride, a.rows, storage.base, wholeColumns, firstRow, rows, firstColumn,
          columns, result.base, result.stride, adding ? 1 : 0, scratch.base)
      }
    }
  }

  /// result = a · windowᵀ (+ result), or a · window where that is turned, in BLAS.
  private static func multiplyPlain(
    _ a: MatrixView, _ window: MatrixView, turned: Bool, into result: MatrixView, adding: Bool
  ) {
    _ = BLAS.ready
    // SAFETY: each window lies inside its storage, which the panels keep alive.
    unsafe cblas_sgemm(
      CblasRowMajor, CblasNoTrans, turned ? CblasNoTrans : CblasTrans, blasint(a.rows),
      blasint(result.columns), blasint(a.columns), 1, a.base, blasint(a.stride), window.base,
      blasint(window.stride), adding ? 1 : 0, result.base, blasint(result.stride))
  }
}
