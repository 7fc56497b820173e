// SPDX-License-Identifier: Apache-2.0

import CKernels
import TestSupport
import Testing

private let tilePaths = [rg_tile_path_unit, rg_tile_path_vectors].filter {
  rg_tiles_available($0) != 0
}

/// Tiles of one part on everything that multiplies them: PackedMatrix takes the fastest alone.
@Suite("Tiles", .enabled(if: !tilePaths.isEmpty))
struct TileKernelTests {
  /// Of bfloat16 numbers, so that every product of two is exact in float32.
  private static func random(_ count: Int, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in
      Float(bitPattern: Float.random(in: -2...2, using: &generator).bitPattern & 0xFFFF_0000)
    }
  }

  private static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer {
    .allocate(byteCount: bytes, alignment: 64)
  }

  /// Left [m,k] times right [n,k], whose numbers are packed as `form`.
  private static func product(
    _ path: rg_tile_path, _ left: [Float], _ right: [Float], k: Int, form: rg_tile_form,
    into initial: [Float]? = nil
  ) -> [Float] {
    let (m, n) = (left.count / k, right.count / k)
    let packed = unsafe allocate(rg_tiles_bytes(n, k, 1))
    let scratch = unsafe allocate(rg_tiles_scratch_bytes(m, k, 1))
    defer {
      unsafe packed.deallocate()
      unsafe scratch.deallocate()
    }
    var result = initial ?? [Float](repeating: .nan, count: m * n)
    let halves = right.map { UInt16($0.bitPattern >> 16) }
    let turned = (0..<n * k).map { right[$0 % n * k + $0 / n] }
    func pack(_ numbers: UnsafeRawBufferPointer, stride: Int) {
      let source = unsafe rg_tile_source(numbers: numbers.baseAddress, stride: stride, form: form)
      unsafe rg_tiles_pack(source, n, k, 0, n, 1, packed)
    }
    switch form {
    case rg_tile_rows_bf16: unsafe halves.withUnsafeBytes { unsafe pack($0, stride: k) }
    case rg_tile_columns_f32: unsafe turned.withUnsafeBytes { unsafe pack($0, stride: n) }
    default: unsafe right.withUnsafeBytes { unsafe pack($0, stride: k) }
    }
    let matrix = unsafe rg_tile_matrix(tiles: packed, rows: n, columns: k, parts: 1)
    unsafe rg_tiles_multiply(
      path, left, k, m, 1, matrix, 0, n, 0, k, &result, n, initial == nil ? 0 : 1, scratch)
    return result
  }

  @Test(arguments: [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 97, 512, 513])
  func `products equal sums in Double at every edge`(k: Int) {
    for m in [1, 7, 8, 9, 16, 17, 33, 65] {
      for n in [1, 15, 16, 17, 31, 32, 33, 64, 65] {
        let a = Self.random(m * k, seed: UInt64(m * 1000 + k))
        let b = Self.random(n * k, seed: UInt64(n * 1000 + k))
        var exact: [Double] = []
        var sizes: [Double] = []
        for i in stride(from: 0, to: a.count, by: k) {
          for j in stride(from: 0, to: b.count, by: k) {
            let terms = (0..<k).map { Double(a[i + $0]) * Double(b[j + $0]) }
            exact.append(terms.reduce(0, +))
            sizes.append(terms.reduce(1e-30) { $0 + $1.magnitude })
          }
        }
        for path in tilePaths {
          for form in [rg_tile_rows_f32, rg_tile_rows_bf16, rg_tile_columns_f32] {
            let result = Self.product(path, a, b, k: k, form: form)
            let isNear = zip(zip(result, exact), sizes).allSatisfy {
              abs(Double($0.0) - $0.1) < 1e-6 * $1
            }
            #expect(isNear, "path \(path.rawValue), form \(form.rawValue), m \(m), n \(n)")
          }
        }
      }
    }
  }

  @Test func `rows in several blocks, added to what is there`() {
    let k = 700
    let (a, b) = (Self.random(515 * k, seed: 1), Self.random(70 * k, seed: 2))
    for path in tilePaths {
      let plain = Self.product(path, a, b, k: k, form: rg_tile_rows_f32)
      let zeros = [Float](repeating: 0, count: plain.count)
      let added = Self.product(path, a, b, k: k, form: rg_tile_rows_f32, into: zeros)
      #expect(added == plain)
      // No row depends on another.
      let row = Self.product(
        path, Array(a[300 * k..<301 * k]), b, k: k, form: rg_tile_rows_f32)
      #expect(row == Array(plain[300 * 70..<301 * 70]))
    }
  }
}
