// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct BalanceCostTests {
  private static let layer = SyntheticLayer(
    rule: SyntheticLayer.softmax, tokens: 4096, hidden: 32, seed: 31)

  /// A fit of a layer whose experts put out vectors of unit norm, added to a residual stream of
  /// this mean squared norm.
  private static func fit(residualSquare: Double?) throws -> LayerFit {
    var generator = SeededGenerator(seed: 32)
    let places = Array(stride(from: 0, to: 4096, by: 4))
    var builder = OutputSketch.Builder(tokens: places, experts: 16, hiddenSize: 32)
    for expert in 0..<16 {
      let direction = SyntheticLayer.normal(1, 32, &generator).values
      let norm = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
      let row = direction.map { $0 / norm }
      builder.add(
        expert: expert, sampled: Array(places.indices),
        outputs: Matrix(
          rows: places.count, columns: 32, values: places.flatMap { _ in row }))
    }
    var options = FitOptions(threads: 2)
    options.residualSquare = residualSquare
    return try LayerFitter.fit(
      inputs: layer.calibration, original: layer.router, outputs: builder.finish(),
      options: options)
  }

  @Test func `a layer that is most of the residual stream is balanced less than another`() throws {
    let fits = try [1e-3, 1e4, nil].map { try Self.fit(residualSquare: $0) }
    let ginis = try fits.map {
      try #require(Self.layer.metrics($0.prototype, on: Self.layer.calibration).gini)
    }
    #expect(ginis[0] > 0.01 && ginis[0] < 0.1)
    #expect(ginis[1] < 0.01)
    #expect(ginis[2] < 0.01)
    let before = try #require(
      Self.layer.metrics(Self.layer.router, on: Self.layer.calibration).gini)
    #expect(ginis[0] < 0.5 * before)
  }

  @Test func `what adds little may depend more on the token`() throws {
    let sizes = try [1e-3, nil, 1e4].map { square in
      let bias = try #require(try Self.fit(residualSquare: square).prototype.tokenBias)
      return bias.values.reduce(0) { $0 + abs($1) }
    }
    #expect(sizes[0] < sizes[1] && sizes[1] < sizes[2])
  }

  @Test func `a layer that adds nothing is balanced as if nothing were known`() throws {
    #expect(
      try Self.fit(residualSquare: .infinity).prototype == Self.fit(residualSquare: nil).prototype)
  }
}
