// SPDX-License-Identifier: Apache-2.0

import CKernels
import TestSupport
import Testing

@Suite("Integer products", .enabled(if: rg_integers_available() != 0))
struct IntegerKernelTests {
  /// Of the sum of the magnitudes of a product's terms: float32's sums of at most 16 blocks.
  private static let twinLimit = 1e-6

  private static func random(_ count: Int, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float.random(in: -2...2, using: &generator) }
  }

  /// Left [m,k] times a window of right [n,k], by the kernels.
  private static func product(
    _ left: [Float], _ right: [Float], k: Int, rows: Range<Int>? = nil,
    columns: Range<Int>? = nil, into initial: [Float]? = nil, packing: Int? = nil
  ) -> [Float] {
    let (m, n) = (left.count / k, right.count / k)
    let (rows, columns) = (rows ?? 0..<n, columns ?? 0..<k)
    let packed = UnsafeMutableRawPointer.allocate(
      byteCount: rg_integers_bytes(n, k), alignment: 64)
    let scratch = UnsafeMutableRawPointer.allocate(
      byteCount: rg_integers_scratch_bytes(m, columns.count), alignment: 64)
    defer {
      unsafe packed.deallocate()
      unsafe scratch.deallocate()
    }
    var result = initial ?? [Float](repeating: .nan, count: m * rows.count)
    unsafe left.withUnsafeBufferPointer { left in
      unsafe right.withUnsafeBufferPointer { right in
        guard let left = left.baseAddress, let right = right.baseAddress else { return }
        let part = packing ?? n
        for first in stride(from: 0, to: n, by: part) {
          unsafe rg_integers_pack(
            right + first * k, k, k, first, min(part, n - first), packed)
        }
        unsafe rg_integers_multiply(
          left + columns.lowerBound, k, m, packed, k, rows.lowerBound, rows.count,
          columns.lowerBound, columns.count, &result, rows.count, initial == nil ? 0 : 1, scratch)
      }
    }
    return result
  }

  /// The largest deviation from `expected`, of the sum of the magnitudes of the terms.
  private static func error(
    _ result: [Float], _ expected: [Double], _ a: [Float], _ b: [Float], k: Int
  ) -> Double {
    let n = b.count / k
    return result.indices.map { index in
      let (i, j) = index.quotientAndRemainder(dividingBy: n)
      let size = (0..<k).reduce(1e-30) { $0 + abs(Double(a[i * k + $1]) * Double(b[j * k + $1])) }
      let difference = abs(Double(result[index]) - expected[index]) / size
      return difference.isNaN ? .infinity : difference
    }.max() ?? 0
  }

  private static func exact(_ a: [Float], _ b: [Float], k: Int) -> [Double] {
    stride(from: 0, to: a.count, by: k).flatMap { i in
      stride(from: 0, to: b.count, by: k).map { j in
        (0..<k).reduce(0.0) { $0 + Double(a[i + $1]) * Double(b[j + $1]) }
      }
    }
  }

  /// Edges of tiles (6 rows), of rows that lie together (16, 32) and of blocks (32).
  @Test(arguments: [1, 2, 3, 4, 5, 31, 32, 33, 63, 64, 65, 96, 97, 200])
  func `products equal the definition at every edge`(k: Int) {
    for m in [1, 2, 3, 4, 5, 6, 7, 12, 13] {
      for n in [1, 15, 16, 17, 31, 32, 33, 64, 65] {
        let a = Self.random(m * k, seed: UInt64(m * 1000 + k))
        let b = Self.random(n * k, seed: UInt64(n * 1000 + k))
        let result = Self.product(a, b, k: k)
        let naive = NaiveIntegerProduct.product(a, b, k: k)
        #expect(Self.error(result, naive, a, b, k: k) < Self.twinLimit, "m \(m), n \(n)")
      }
    }
  }

  @Test func `rows in several blocks, packed in parts, added to what is there`() {
    let k = 130
    let (a, b) = (Self.random(515 * k, seed: 1), Self.random(70 * k, seed: 2))
    let plain = Self.product(a, b, k: k)
    #expect(Self.error(plain, NaiveIntegerProduct.product(a, b, k: k), a, b, k: k) < Self.twinLimit)
    #expect(Self.product(a, b, k: k, packing: 32) == plain)
    let added = Self.product(a, b, k: k, into: [Float](repeating: 1, count: plain.count))
    #expect(added == plain.map { $0 + 1 })
    // No row depends on another.
    #expect(Self.product(Array(a[300 * k..<301 * k]), b, k: k) == Array(plain[300 * 70..<301 * 70]))
  }

  @Test func `windows select rows and columns`() {
    let k = 300
    let (a, b) = (Self.random(9 * k, seed: 3), Self.random(100 * k, seed: 4))
    func part(_ values: [Float], _ rows: Range<Int>, _ columns: Range<Int>) -> [Float] {
      rows.flatMap { values[$0 * k + columns.lowerBound..<$0 * k + columns.upperBound] }
    }
    for columns in [128..<288, 64..<300] {
      let result = Self.product(a, b, k: k, rows: 32..<75, columns: columns)
      let (left, right) = (part(a, 0..<9, columns), part(b, 32..<75, columns))
      let naive = NaiveIntegerProduct.product(left, right, k: columns.count)
      #expect(Self.error(result, naive, left, right, k: columns.count) < Self.twinLimit)
    }
    // Columns of the right matrix beyond the window count for nothing.
    let cut = Self.product(a, b, k: k, rows: 32..<75, columns: 128..<233)
    let padded = part(a, 0..<9, 128..<256).enumerated().map { $0 % 128 < 105 ? $1 : 0 }
    let right = part(b, 32..<75, 128..<256)
    let naive = NaiveIntegerProduct.product(padded, right, k: 128)
    #expect(Self.error(cut, naive, padded, right, k: 128) < Self.twinLimit)
  }

  @Test func `errors are as small as the header says`() {
    let k = 512
    let (a, b) = (Self.random(40 * k, seed: 5), Self.random(40 * k, seed: 6))
    let exact = Self.exact(a, b, k: k)
    let error = zip(Self.product(a, b, k: k), exact).reduce(0.0) {
      $0 + (Double($1.0) - $1.1) * (Double($1.0) - $1.1)
    }
    #expect((error / exact.reduce(0) { $0 + $1 * $1 }).squareRoot() < 1.0 / 128)
  }

  @Test func `integers times scales are met exactly`() {
    // What Q8_0 stores: a whole number up to 127 for the largest, times a scale.
    var generator = SeededGenerator(seed: 7)
    var (a, b): ([Float], [Float]) = ([], [])
    for index in 0..<64 {
      a.append(index % 32 == 3 ? 127 : Float(Int.random(in: -127...127, using: &generator)))
    }
    for index in 0..<64 {
      let factor: Float = index < 32 ? 0.25 : 4
      b.append(a[(index * 29 + 7) % 32] * factor)
    }
    let exact = Self.exact(a, b, k: 64)[0]
    #expect(abs(Double(Self.product(a, b, k: 64)[0]) / exact - 1) < 1e-6)
  }

  @Test func `zeros, tiny and huge numbers`() {
    let k = 64
    let ones = [Float](repeating: 1, count: k)
    #expect(Self.product([Float](repeating: 0, count: k), ones, k: k) == [0])
    for size in [Float(1e-25), 1e-17, 1e17, 1e30] {
      let result = Self.product(ones.map { $0 * size }, ones, k: k)[0]
      #expect(abs(result / (64 * size) - 1) < 1e-6)
    }
    for value in [Float.nan, .infinity, -.infinity] {
      for place in [5, 21, 40] {
        var row = ones
        row[place] = value
        let result = Self.product(ones + row, ones, k: k)
        #expect(result[0] == 64 && !result[1].isFinite)
        #expect(!Self.product(ones, row, k: k)[0].isFinite)
      }
    }
  }
}
