// SPDX-License-Identifier: Apache-2.0
//
// The right matrix of a product a · bᵀ, b [rows, columns]: in bfloat16 parts for the tile unit of
// CPUs that have one (CKernels/TileKernels.h); else, where it is quantised and the CPU has the
// instructions, in 8-bit integers (CKernels/IntegerKernels.h); else as it is, for BLAS. A weight is
// packed once and then applied to many blocks of tokens.

import CKernels
import COpenBLAS

/// How exact a product must be: into how many bfloat16 parts its two factors are split, where it
/// runs on tiles.
package struct ProductPrecision: Sendable, Equatable {
  let left: Int
  let right: Int

  /// Float32's.
  package static let full = ProductPrecision(left: 3, right: 3)
  /// For quantised weights, which are some percent off what they stand for: good to 2^-17 on tiles,
  /// to 2^-7 in integers, as llama.cpp's products are.
  package static let quantised = ProductPrecision(left: 2, right: 2)

  /// For a right matrix of decoded elements of `type`; `scaled`: by factors that are no powers of
  /// two. Products are as exact as in float32, except with quantised weights.
  package init(of type: ElementType, scaled: Bool) {
    switch type {
    case _ where type.isQuantised: self = .quantised
    case .bf16, .f8e4m3, .f8e5m2, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .f4, .i4, .i8, .u8,
      .bool:
      self = scaled ? .full : ProductPrecision(left: 3, right: 1)
    case .f16: self = scaled ? .full : ProductPrecision(left: 3, right: 2)
    default: self = .full
    }
  }

  private init(left: Int, right: Int) {
    self.left = left
    self.right = right
  }
}

/// The right matrix [rows, columns] of products a · bᵀ.
package struct PackedMatrix: Sendable {
  private enum Form {
    /// [rows, columns], or turned: [columns, rows].
    case plain(MatrixView, turned: Bool)
    case tiles(FloatStorage, ProductPrecision)
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
    if rg_tiles_available() != 0 { return rg_tiles_bytes(rows, columns, Int32(precision.right)) }
    return precision == .quantised && rg_integers_available() != 0
      ? rg_integers_bytes(rows, columns) : MemoryLayout<Float>.size * rows * columns
  }

  /// The form that this CPU works with fastest; nil: BLAS.
  private static func packedForm(rows: Int, columns: Int, precision: ProductPrecision) -> Form? {
    let bytes = bytes(rows: rows, columns: columns, precision: precision)
    if rg_tiles_available() != 0 { return .tiles(FloatStorage(bytes: bytes), precision) }
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
    rg_tiles_available() != 0 && uses >= leastUses
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

  /// Packs `panel` as rows from `first` on, where the form is a packed one. Only tiles are turned.
  private func pack(_ panel: MatrixView, at first: Int, turned: Bool = false) {
    guard rows > 0, columns > 0 else { return }
    // SAFETY: the storage holds what `rg_..._bytes` says for this shape, and the rows that are
    // written lie inside it: checked by `write`, all rows elsewhere.
    switch form {
    case .plain: break
    case .tiles(let storage, let precision):
      unsafe rg_tiles_pack(
        panel.base, panel.stride, turned ? 1 : 0, rows, columns, first,
        turned ? panel.columns : panel.rows, Int32(precision.right), storage.base)
    case .integers(let storage):
      unsafe rg_integers_pack(panel.base, panel.stride, columns, first, panel.rows, storage.base)
    }
  }

  // MARK: Products

  /// result = a · selfᵀ (+ result). Shapes were compared by the caller; none is empty.
  func multiply(_ a: MatrixView, into result: MatrixView, adding: Bool) {
    switch form {
    case .plain(let panel, let turned):
      _ = BLAS.ready
      let window =
        turned
        ? panel[firstColumn..<firstColumn + columns, firstRow..<firstRow + rows]
        : panel[firstRow..<firstRow + rows, firstColumn..<firstColumn + columns]
      // SAFETY: each window lies inside its storage, which the panels keep alive.
      unsafe cblas_sgemm(
        CblasRowMajor, CblasNoTrans, turned ? CblasNoTrans : CblasTrans, blasint(a.rows),
        blasint(rows), blasint(columns), 1, a.base, blasint(a.stride), window.base,
        blasint(window.stride), adding ? 1 : 0, result.base, blasint(result.stride))
    case .tiles(let storage, let precision):
      let scratch = FloatStorage(bytes: rg_tiles_scratch_bytes(columns, Int32(precision.left)))
      // SAFETY: as above; the scratch memory has the size and alignment that the kernel wants.
      withExtendedLifetime((a, result, scratch)) {
        unsafe rg_tiles_multiply(
          a.base, a.stride, a.rows, Int32(precision.left),
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
}
