// SPDX-License-Identifier: Apache-2.0

import ByteStorage
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
    (.q4_K, .max, 4e-7),
  ])
  func `narrow weights need fewer parts`(
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

  /// `matrix` rounded to bfloat16.
  private static func rounded(_ matrix: Matrix) -> Matrix {
    Matrix(
      rows: matrix.rows, columns: matrix.columns,
      values: matrix.values.map {
        let bits = $0.bitPattern
        return Float(bitPattern: (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000)
      })
  }

  @Test(arguments: shapes)
  func `in bfloat16 both factors are rounded, and nothing else`(_ shape: Shape) {
    let a = Self.random(rows: shape.m, columns: shape.k, seed: 11)
    let b = Self.random(rows: shape.n, columns: shape.k, seed: 12)
    let (near, other) = (Self.rounded(a), Self.rounded(b))
    let precision = ProductPrecision(of: .f32, scaled: false, as: .bf16)
    let packed = PackedMatrix(packing: MatrixView(b), precision: precision)
    let result = MatrixView(rows: shape.m, columns: shape.n)
    result.fill(3)
    result.multiply(MatrixView(a), transposed: packed, adding: true)
    #expect(Self.error(result, near, other, initial: 3) < 1e-6)
    result.multiply(MatrixView(a), transposed: packed)
    #expect(Self.error(result, near, other) < 1e-6)
    #expect(shape.k < 100 || Self.error(result, a, b) > 1e-5)

    let written = PackedMatrix(rows: shape.n, columns: shape.k, precision: precision)
    for first in stride(from: 0, to: shape.n, by: 32) {
      let range = first..<min(first + 32, shape.n)
      guard written.takesBFloats else {
        written.write(range) { $0.copy(MatrixView(other)[range]) }
        continue
      }
      let numbers = other.values[first * shape.k..<range.upperBound * shape.k].map {
        UInt16($0.bitPattern >> 16)
      }
      numbers.withBytes { written.write(range, bfloats: $0) }
    }
    let again = MatrixView(rows: shape.m, columns: shape.n)
    again.multiply(MatrixView(a), transposed: written)
    #expect(again.matrix == result.matrix)
    guard shape.k > 600 else { return }
    let window = MatrixView(rows: shape.m, columns: shape.n)
    window.multiply(
      MatrixView(a).columns(512..<shape.k), transposed: packed[0..<shape.n, 512..<shape.k])
    let part = (
      MatrixView(near).columns(512..<shape.k).matrix,
      MatrixView(other).columns(512..<shape.k).matrix
    )
    #expect(Self.error(window, part.0, part.1) < 1e-6)
  }

  @Test func `what is multiplied in bfloat16 is what was asked for`() {
    func products(_ type: ElementType, _ precision: Precision, scaled: Bool = false)
      -> ProductPrecision
    {
      ProductPrecision(of: type, scaled: scaled, as: precision)
    }
    for type in [ElementType.bf16, .f8e4m3, .f8e5m2, .i4, .f4, .i8] {
      #expect(products(type, .bf16) == .bfloats && products(type, .f32) != .bfloats)
      #expect(products(type, .bf16, scaled: true) == .bfloats)
      #expect(products(type, .f32, scaled: true) == .full)
      #expect([.bfloats, products(type, .f32)].contains(products(type, .auto)))
    }
    for type in [ElementType.f32, .f16, .f64] {
      #expect(products(type, .bf16) == .bfloats)
      #expect(products(type, .auto) == products(type, .f32))
    }
    for type in [ElementType.q4_K, .q8_0] {
      #expect(products(type, .auto) == .quantised && products(type, .bf16) == .quantised)
      #expect(products(type, .f32) == .full)
    }
    #expect(ProductPrecision.bfloats.name == "bfloat16")
    #expect(ProductPrecision.full.name == "float32")
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

  @Test func `quantised weights need less precision`() {
    let a = Self.random(rows: 40, columns: 700, seed: 3)
    let b = Self.random(rows: 50, columns: 700, seed: 4)
    let packed = PackedMatrix(packing: MatrixView(b), precision: .quantised)
    let result = MatrixView(rows: 40, columns: 50)
    result.multiply(MatrixView(a), transposed: packed)
    #expect(Self.error(result, a, b) < 1.0 / 256)
  }

  @Test(arguments: [ProductPrecision.full, .bfloats])
  func `NaN and infinity stay what they are`(_ precision: ProductPrecision) {
    let a = Self.random(rows: 32, columns: 64, seed: 9)
    var b = Self.random(rows: 64, columns: 64, seed: 10)
    b[3, 5] = .nan
    let result = MatrixView(rows: 32, columns: 64)
    result.multiply(
      MatrixView(a), transposed: PackedMatrix(packing: MatrixView(b), precision: precision))
    #expect((0..<32).allSatisfy { result[$0, 3].isNaN && !result[$0, 4].isNaN })
    var c = a
    c[2, 0] = .infinity
    let square = MatrixView(rows: 32, columns: 32)
    square.multiply(
      MatrixView(c), transposed: PackedMatrix(packing: MatrixView(a), precision: precision))
    #expect(!square[2, 1].isFinite && square[3, 1].isFinite)
  }
}
