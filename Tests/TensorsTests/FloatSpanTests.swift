// SPDX-License-Identifier: Apache-2.0

import Foundation
import Tensors
import TestSupport
import Testing

struct FloatSpanTests {
  private static func places(of most: Int, in values: [Float]) -> [Int] {
    let padding = [Float](repeating: -.infinity, count: (8 - values.count % 8) % 8)
    let padded = values + padding
    var places = [Int32](repeating: -1, count: most)
    var span = places.mutableSpan
    let found = padded.span.findLargest(&span)
    #expect(places[found...].allSatisfy { $0 == -1 })
    return places.prefix(found).map(Int.init)
  }

  @Test(arguments: [1, 8, 15, 16, 17, 48, 129])
  func `the largest values come in order, and equal ones by their places`(count: Int) {
    var generator = SeededGenerator(seed: UInt64(count))
    for _ in 0..<50 {
      // Few different values, so that many are equal.
      var values = (0..<count).map { _ in Float(Int.random(in: -3...3, using: &generator)) }
      if count > 4 {
        values[count / 2] = .nan
        values[count / 3] = -.infinity
        values[count / 4] = .infinity
        values[0] = -0.0
      }
      let order = values.indices.filter { values[$0] > -.infinity }
        .sorted { (-values[$0], $0) < (-values[$1], $1) }
      #expect(Self.places(of: 9, in: values) == Array(order.prefix(9)))
    }
  }

  @Test func `nothing is found in nothing`() {
    #expect(Self.places(of: 2, in: []).isEmpty)
    #expect(Self.places(of: 2, in: [.nan, -.infinity]).isEmpty)
  }

  @Test(arguments: [2, 5, 30] as [Float], [0.01, 0.3, 4] as [Float])
  func `soft members sum to their places`(sum: Float, width: Float) {
    var generator = SeededGenerator(seed: 3)
    let count = 48
    var compared = (0..<count).map { _ in Float.random(in: -2...2, using: &generator) }
    for place in 41..<48 { compared[place] = -.infinity }
    let ordered = compared.sorted(by: >)
    let start = (ordered[Int(sum) - 1] + ordered[Int(sum)]) / 2
    var members = [Float](repeating: 9, count: count + 1)
    var span = members.mutableSpan
    span.set(softMembersOf: compared.span, sum: sum, width: width, from: start)
    // The same by bisection.
    func shares(_ threshold: Double) -> [Double] {
      compared.map { 1 / (1 + exp((threshold - Double($0)) / Double(width))) }
    }
    var (low, high) = (-200.0, 200.0)
    for _ in 0..<80 {
      let middle = (low + high) / 2
      if shares(middle).reduce(0, +) > Double(sum) { low = middle } else { high = middle }
    }
    #expect(zip(members, shares(low)).allSatisfy { abs(Double($0) - $1) < 1e-4 })
    #expect(members[41..<48].allSatisfy { $0 < 1e-30 } && members[count] == 9)
  }

  @Test func `sums, exponentials and sigmoids are those of each value`() {
    let values: [Float] = [-3, 0, 0.5, 2]
    let others: [Float] = [1, 2, 3, -4]
    var sums = [Float](repeating: 9, count: 5)
    var span = sums.mutableSpan
    span.set(sumOf: values.span, others.span)
    #expect(sums == [-2, 2, 3.5, -2, 9])
    var powers = values
    var powerSpan = powers.mutableSpan
    powerSpan.exponentiate()
    #expect(zip(powers, values).allSatisfy { abs($0 / expf($1) - 1) < 1e-6 })
    var products = others
    var productSpan = products.mutableSpan
    productSpan.multiply(bySigmoidOf: values.span)
    #expect(
      zip(products, zip(others, values)).allSatisfy { abs($0 - $1.0 / (1 + expf(-$1.1))) < 1e-6 })
  }
}
