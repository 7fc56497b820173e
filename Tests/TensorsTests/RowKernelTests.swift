// SPDX-License-Identifier: Apache-2.0

import CKernels
import Foundation
import Tensors
import TestSupport
import Testing

@Suite("Row kernels") struct RowKernelTests {
  private static var paths: [rg_path] {
    [rg_path_baseline, rg_path_avx2].filter { rg_path_available($0) != 0 }
  }

  private func random(_ count: Int, seed: UInt64, in range: ClosedRange<Float>) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float.random(in: range, using: &generator) }
  }

  /// The bound that RowKernels.h states.
  static let expULPs = 2.0

  @Test func `exp is within two ULP of the exact value`() {
    var inputs = random(200_000, seed: 1, in: -87.2...88)
    inputs += random(20_000, seed: 2, in: -1...1) + [0, -0.0, 88, -87.3, 0.34657359, -0.34657359]
    for path in Self.paths {
      var values = inputs
      unsafe rg_exp(path, &values, values.count)
      var worst = 0.0
      for (input, value) in zip(inputs, values) {
        let exact = exp(Double(input))
        worst = max(worst, abs(Double(value) - exact) / Double(Float(exact).ulp))
      }
      #expect(worst <= Self.expULPs)
    }
  }

  @Test func `exp saturates and keeps NaN`() {
    for path in Self.paths {
      var values: [Float] = [.infinity, 1e30, -.infinity, -1e30, .nan]
      unsafe rg_exp(path, &values, values.count)
      #expect(values[0] == values[1] && values[0] > 1.6e38 && values[0].isFinite)
      #expect(values[2] == values[3] && values[2] > 0 && values[2] < 1.3e-38)
      #expect(values[4].isNaN)
    }
  }

  @Test func `rounding to bfloat16 is to the nearest, even where two are as near`() {
    let exact: [Float] = [0, -0.0, 1, -1.5, 0x1.FEp127, 0x1p-133, .infinity, -.infinity]
    let near: [(Float, Float)] = [
      (0x1.01p0, 0x1p0), (0x1.03p0, 0x1.04p0), (0x1.010002p0, 0x1.02p0), (-0x1.0FFFFEp3, -0x1.1p3),
      (.greatestFiniteMagnitude, .infinity), (0x1.FEFFFEp127, 0x1.FEp127),
      (.leastNonzeroMagnitude, 0),
    ]
    let nans: [Float] = [
      .nan, .signalingNaN, Float(bitPattern: 0x7F80_0001), Float(bitPattern: 0xFFFF_FFFF),
    ]
    for path in Self.paths {
      let source = exact + near.map(\.0) + nans
      var values = source
      unsafe rg_round_bfloats(path, source, &values, source.count)
      #expect(values[..<exact.count].elementsEqual(exact))
      #expect(values[1].sign == .minus)
      #expect(values[exact.count...].dropLast(nans.count).elementsEqual(near.map(\.1)))
      #expect(values.suffix(nans.count).allSatisfy { $0.isNaN })
    }
  }

  @Test func `logits that are not finite are none after a cap either`() {
    for path in Self.paths {
      var values: [Float] = [.infinity, -.infinity, .nan, 1e30, -1e30, 0]
      unsafe rg_soft_cap(path, &values, 30, values.count)
      #expect(values[..<3].allSatisfy(\.isNaN) && values[3...] == [30, -30, 0])
    }
  }

  @Test func `every path gives the same bits at every length`() {
    guard Self.paths.count > 1 else { return }
    for count in 0...70 {
      let source = random(count, seed: UInt64(count), in: -6...6)
      let other = random(count, seed: UInt64(count + 100), in: -6...6)
      let results = Self.paths.map { path -> [UInt64] in
        var (exp, silu, soft, norm, sum) = (source, source, source, source, source)
        var clamped = source
        unsafe rg_exp(path, &exp, count)
        unsafe rg_silu_product(path, &silu, other, count)
        unsafe rg_clamped_swiglu(path, &clamped, other, 1.702, 3, count)
        unsafe rg_softmax(path, &soft, 0.7, 3, count)
        let squares = unsafe rg_rms_norm(path, source, other, 1e-6, &norm, count)
        unsafe rg_add_scaled(path, &sum, other, 0.3, count)
        var (products, sigmoid) = (source, source)
        unsafe rg_add_products(path, &products, other, source, count)
        unsafe rg_sigmoid_product(path, &sigmoid, other, count)
        var (gelu, capped) = (source, source)
        unsafe rg_gelu_product(path, &gelu, other, count)
        unsafe rg_soft_cap(path, &capped, 2, count)
        var (halves, pairs) = (source, source)
        unsafe rg_rotate_halves(path, &halves, other, source, count / 2)
        unsafe rg_rotate_pairs(path, &pairs, other, source, count / 2)
        var (sums, members, rounded) = (source, source, source)
        unsafe rg_round_bfloats(path, source, &rounded, count)
        unsafe rg_sum(path, source, other, &sums, count)
        unsafe rg_soft_members(path, source, Float(count / 3), 0.3, 0, &members, count / 16 * 16)
        var places = [Int32](repeating: 0, count: 5)
        let found = unsafe rg_largest_places(path, source, count / 8 * 8, &places, 5)
        let floats =
          unsafe exp + silu + clamped + soft + norm + sum + products + sigmoid + gelu + capped
          + halves + pairs + sums + members + rounded + places.map(Float.init)
          + [squares, rg_max(path, source, count), Float(found)]
        return unsafe floats.map { UInt64($0.bitPattern) } + [
          rg_sum_exp(path, source, 6, count).bitPattern,
          rg_sum_exp_difference(path, source, other, 6, count).bitPattern,
          rg_sum_squares(path, source, count).bitPattern,
          rg_sum_squared_differences(path, source, other, count).bitPattern,
        ]
      }
      #expect(results[0] == results[1], "length \(count)")
    }
  }

  @Test(arguments: [1, 2, 15, 16, 17, 31, 100])
  func `kernels agree with their formulas in Double`(count: Int) {
    let x = random(count, seed: 3, in: -5...5).map(Double.init)
    let y = random(count, seed: 4, in: -5...5).map(Double.init)
    func isNear(_ values: [Float], _ expected: [Double]) -> Bool {
      zip(values, expected).allSatisfy { abs(Double($0) - $1) <= 2e-6 * max(1, abs($1)) }
    }
    let (xf, yf) = (x.map(Float.init), y.map(Float.init))
    let path = rg_best_path()
    var silu = xf
    unsafe rg_silu_product(path, &silu, yf, count)
    #expect(isNear(silu, zip(x, y).map { $0 / (1 + exp(-$0)) * $1 }))
    var products = xf
    unsafe rg_add_products(path, &products, yf, xf, count)
    #expect(isNear(products, zip(x, y).map { $0 + $0 * $1 }))
    var sigmoid = xf
    unsafe rg_sigmoid_product(path, &sigmoid, yf, count)
    #expect(isNear(sigmoid, zip(x, y).map { $0 / (1 + exp(-$1)) }))
    var gelu = xf
    unsafe rg_gelu_product(path, &gelu, yf, count)
    #expect(
      isNear(
        gelu,
        zip(x, y).map { g, u in
          0.5 * g * (1 + tanh((2 / Double.pi).squareRoot() * (g + 0.044715 * g * g * g))) * u
        }))
    for limit in [0.5, 3, 1000.0] {
      var capped = xf
      unsafe rg_soft_cap(path, &capped, Float(limit), count)
      #expect(isNear(capped, x.map { limit * tanh($0 / limit) }))
    }
    var soft = xf
    unsafe rg_softmax(path, &soft, 0.5, -.infinity, count)
    let total = x.reduce(0) { $0 + exp(0.5 * $1) }
    #expect(isNear(soft, x.map { exp(0.5 * $0) / total }))
    var norm = xf
    let squares = x.reduce(0) { $0 + $1 * $1 }
    let normSquares = unsafe rg_rms_norm(path, xf, yf, 1e-5, &norm, count)
    #expect(isNear([normSquares], [squares]))
    let root = (squares / Double(count) + 1e-5).squareRoot()
    #expect(isNear(norm, zip(x, y).map { $0 / root * $1 }))
    let largest = unsafe rg_max(path, xf, count)
    #expect(largest == xf.max())
    let weighted = zip(x, y).reduce(0) { $0 + exp($1.0 - 5) * ($1.0 - $1.1) }
    let sum = unsafe rg_sum_exp(path, xf, 5, count)
    let difference = unsafe rg_sum_exp_difference(path, xf, yf, 5, count)
    #expect(abs(difference - weighted) < 1e-5)
    #expect(abs(sum - x.reduce(0) { $0 + exp($1 - 5) }) < 1e-5)
  }

  @Test(arguments: [-30, -1, 2, 30] as [Float])
  func `a sink takes part in a softmax, below and above the scores`(sink: Float) {
    let scores: [Float] = [0.5, -3, 4, 1]
    var weights = scores
    unsafe rg_softmax(rg_best_path(), &weights, 0.5, sink, scores.count)
    let powers = scores.map { exp(0.5 * Double($0)) }
    let total = powers.reduce(exp(Double(sink)), +)
    for (weight, power) in zip(weights, powers) {
      #expect(abs(Double(weight) - power / total) <= 2e-6 * power / total + 1e-37)
    }
  }

  /// As torch clamps: a lower bound above the upper one says nothing.
  @Test(arguments: [7, 0, -1.5] as [Float])
  func `the clamped SwiGLU is clamped from above and, of up values, from below`(limit: Float) {
    let (gate, up): ([Float], [Float]) = ([-9, -1, 2, 9, 1, .nan], [9, -9, 0.5, 9, .nan, 1])
    var values = gate
    unsafe rg_clamped_swiglu(rg_best_path(), &values, up, 1.702, limit, gate.count)
    let bound = Double(limit)
    for (index, value) in values.prefix(4).enumerated() {
      let g = min(Double(gate[index]), bound)
      let exact = (min(max(Double(up[index]), -bound), bound) + 1) * g / (1 + exp(-1.702 * g))
      #expect(abs(Double(value) - exact) <= 1e-6 * abs(exact))
    }
    #expect(values[4].isNaN && values[5].isNaN)
  }

  @Test func `rotation turns pairs of either layout by the angle`() {
    let (cosine, sine): ([Float], [Float]) = ([0, 0.6], [1, 0.8])
    var halves: [Float] = [1, 2, 3, 4]
    unsafe rg_rotate_halves(rg_best_path(), &halves, cosine, sine, 2)
    #expect(halves.map(Double.init).elementsEqual([-3, -2, 1, 4]) { abs($0 - $1) < 1e-6 })
    var pairs: [Float] = [1, 3, 2, 4]
    unsafe rg_rotate_pairs(rg_best_path(), &pairs, cosine, sine, 2)
    #expect(pairs.map(Double.init).elementsEqual([-3, 1, -2, 4]) { abs($0 - $1) < 1e-6 })
  }
}

@Suite("MatrixViews") struct MatrixViewTests {
  @Test func `a triangular system is solved, whatever its upper part holds`() {
    let l = MatrixView(
      Matrix(rows: 3, columns: 4, values: [9, 7, 8, 0, 2, 9, 7, 0, -1, 3, 9, 0]))
    let x = MatrixView(Matrix(rows: 3, columns: 2, values: [1, 2, 3, 5, 7, -4]))
    x.solve(unitLower: l.columns(0..<3))
    #expect(x.matrix.values == [1, 2, 1, 1, 5, -5])
  }

  @Test func `products of windows agree with products of matrices`() {
    var generator = SeededGenerator(seed: 5)
    func matrix(_ rows: Int, _ columns: Int) -> Matrix {
      Matrix(
        rows: rows, columns: columns,
        values: (0..<rows * columns).map { _ in Float.random(in: -1...1, using: &generator) })
    }
    let (a, b) = (matrix(7, 9), matrix(6, 9))
    let result = MatrixView(rows: 5, columns: 8)
    result.fill(2)
    let window = result[1..<4, 2..<6]
    window.multiply(MatrixView(a)[2..<5, 3..<8], transposed: MatrixView(b)[1..<5, 4..<9])
    window.multiply(
      MatrixView(a)[2..<5, 3..<8], transposed: MatrixView(b)[1..<5, 4..<9], adding: true)
    for row in 0..<5 {
      for column in 0..<8 {
        var expected: Float = 2
        if (1..<4).contains(row), (2..<6).contains(column) {
          expected = (0..<5).reduce(Float(0)) {
            $0 + 2 * a[row + 1, $1 + 3] * b[column - 1, $1 + 4]
          }
        }
        #expect(abs(result[row, column] - expected) < 1e-5)
      }
    }
    let turned = MatrixView(rows: 9, columns: 6)
    turned.copyTransposed(MatrixView(b))
    let plain = MatrixView(rows: 7, columns: 6)
    plain.multiply(MatrixView(a), turned)
    #expect(
      zip(plain.matrix.values, LinearAlgebra.multiply(a, transposed: b).values)
        .allSatisfy { abs($0 - $1) < 1e-5 })
  }
}
