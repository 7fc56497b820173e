// SPDX-License-Identifier: Apache-2.0

import CKernels
import Tensors
import TestSupport
import Testing

/// Products of packed matrices, on the tile unit where this CPU has one, against sums in Double.
@Suite("Packed matrices") struct PackedMatrixTests {
  private static func random(
    rows: Int, columns: Int, seed: UInt64, mask: UInt32 = .max
  ) -> Matrix {
    var generator = SeededGenerator(seed: seed)
    return Matrix(
      rows: rows, columns: columns,
      values: (0..<rows * columns).map { _ in
        Float(bitPattern: Float.random(in: -2...2, using: &generator).bitPattern & mask)
      })
  }

  /// The largest error relative to the sum of the magnitudes of a product's terms.
  private static func error(
    _ result: MatrixView, _ a: Matrix, _ b: Matrix, initial: Float = 0
  ) -> Double {
    var worst = 0.0
    for row in 0..<a.rows {
      for column in 0..<b.rows {
        var (sum, size) = (Double(initial), Double(initial.magnitude))
        for k in 0..<a.columns {
          let term = Double(a[row, k]) * Double(b[column, k])
          sum += term
          size += abs(term)
        }
        worst = max(worst, abs(Double(result[row, column]) - sum) / max(size, 1e-30))
      }
    }
    return worst
  }

  struct Shape: Sendable { let m: Int, n: Int, k: Int }

  /// Edges of tiles (16), pairs of tiles (32), blocks of rows (256) and of columns (512).
  static let shapes = [
    Shape(m: 1, n: 5, k: 3), Shape(m: 16, n: 16, k: 32), Shape(m: 33, n: 70, k: 100),
    Shape(m: 31, n: 64, k: 31), Shape(m: 257, n: 33, k: 513), Shape(m: 64, n: 31, k: 1100),
  ]

  @Test(arguments: shapes)
  func `a product has float32's precision`(_ shape: Shape) {
    let a = Self.random(rows: shape.m, columns: shape.k, seed: 1)
    let b = Self.random(rows: shape.n, columns: shape.k, seed: 2)
    let packed = PackedMatrix(packing: MatrixView(b))
    let result = MatrixView(rows: shape.m, columns: shape.n)
    result.fill(3)
    result.multiply(MatrixView(a), transposed: packed, adding: true)
    #expect(Self.error(result, a, b, initial: 3) < 4e-7)
    result.multiply(MatrixView(a), transposed: packed)
    #expect(Self.error(result, a, b) < 4e-7)

    var turned = Matrix(rows: shape.k, columns: shape.n)
    for row in 0..<shape.n { for k in 0..<shape.k { turned[k, row] = b[row, k] } }
    result.multiply(
      MatrixView(a), transposed: PackedMatrix(transposing: MatrixView(turned), uses: 1 << 40))
    #expect(Self.error(result, a, b) < 4e-7)
  }

  @Test(arguments: [
    (ElementType.bf16, UInt32(0xFFFF_0000), 4e-7), (.f16, 0xFFFF_E000, 4e-7),
    (.q4_K, .max, 1.0 / 256),
  ])
  func `narrow weights need fewer parts, quantised ones less precision`(
    type: ElementType, mask: UInt32, limit: Double
  ) {
    let a = Self.random(rows: 40, columns: 700, seed: 3)
    let b = Self.random(rows: 50, columns: 700, seed: 4, mask: mask)
    let packed = PackedMatrix(
      packing: MatrixView(b), precision: ProductPrecision(of: type, scaled: false))
    let result = MatrixView(rows: 40, columns: 50)
    result.multiply(MatrixView(a), transposed: packed)
    #expect(Self.error(result, a, b) < limit)
  }

  @Test func `windows select rows and columns`() {
    let a = Self.random(rows: 40, columns: 100, seed: 5)
    let b = Self.random(rows: 100, columns: 700, seed: 6)
    let window = PackedMatrix(packing: MatrixView(b))[32..<75, 512..<612]
    let result = MatrixView(rows: 40, columns: 43)
    result.multiply(MatrixView(a), transposed: window)
    let part = MatrixView(b)[32..<75, 512..<612].matrix
    #expect(Self.error(result, a, part) < 4e-7)
  }

  @Test func `rows may be written in parts, in any order`() {
    let b = Self.random(rows: 100, columns: 70, seed: 7)
    let a = Self.random(rows: 9, columns: 70, seed: 8)
    let packed = PackedMatrix(rows: 100, columns: 70, precision: .full)
    for range in [64..<100, 0..<32, 32..<64] {
      packed.write(range) { $0.copy(MatrixView(b)[range]) }
    }
    let result = MatrixView(rows: 9, columns: 100)
    result.multiply(MatrixView(a), transposed: packed)
    #expect(Self.error(result, a, b) < 4e-7)
  }

  @Test func `NaN and infinity stay what they are`() {
    let a = Self.random(rows: 32, columns: 64, seed: 9)
    var b = Self.random(rows: 64, columns: 64, seed: 10)
    b[3, 5] = .nan
    let result = MatrixView(rows: 32, columns: 64)
    result.multiply(MatrixView(a), transposed: PackedMatrix(packing: MatrixView(b)))
    #expect((0..<32).allSatisfy { result[$0, 3].isNaN && !result[$0, 4].isNaN })
    var c = a
    c[2, 0] = .infinity
    let square = MatrixView(rows: 32, columns: 32)
    square.multiply(MatrixView(c), transposed: PackedMatrix(packing: MatrixView(a)))
    #expect(!square[2, 1].isFinite && square[3, 1].isFinite)
  }
}
