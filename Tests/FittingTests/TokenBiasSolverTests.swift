// SPDX-License-Identifier: Apache-2.0

import Fitting
import Routing
import Tensors
import TestSupport
import Testing

struct TokenBiasSolverTests {
  @Test func `axes are uncorrelated, of unit variance, and begin where texts differ most`() throws {
    // Dimension 0 differs between texts, dimension 1 between tokens.
    var generator = SeededGenerator(seed: 2)
    var latent = SyntheticLayer.normal(4096, 2, &generator)
    let drifts = SyntheticLayer.normal(32, 1, &generator)
    for token in 0..<4096 {
      latent[token, 0] = drifts[token / 128, 0] + 0.3 * latent[token, 0] + 5
      latent[token, 1] *= 7
    }
    let axes = try TextAxes(latent: latent, tokens: Array(0..<4096))
    #expect(axes.axes.rows == 2)
    #expect(axes.shares[0] > 0.8 && axes.shares[0] < 1)
    #expect(axes.shares[1] < 0.05 && axes.shares[1] >= 0)
    #expect(abs(axes.axes[0, 0]) > 10 * abs(axes.axes[0, 1]))
    let places = axes.coordinates(latent, threads: 2)
    var second = [0.0, 0.0, 0.0]
    var mean = [0.0, 0.0]
    for token in 0..<4096 {
      let (a, b) = (Double(places[token, 0]), Double(places[token, 1]))
      mean[0] += a / 4096
      mean[1] += b / 4096
      second[0] += a * a / 4096
      second[1] += b * b / 4096
      second[2] += a * b / 4096
    }
    #expect(mean.allSatisfy { abs($0) < 1e-4 })
    #expect(abs(second[0] - 1) < 1e-3 && abs(second[1] - 1) < 1e-3 && abs(second[2]) < 1e-3)
  }

  @Test func `a token-dependent bias evens the load of each text, on texts that were not seen`()
    throws
  {
    let rule = SyntheticLayer.softmax
    var generator = SeededGenerator(seed: 7)
    let gate = SyntheticLayer.normal(16, 12, &generator)
    let calibration = Self.texts(48, &generator)
    let heldOut = Self.texts(48, &generator)
    func scores(_ inputs: Matrix) -> Matrix {
      rule.scores(LinearAlgebra.multiply(inputs, transposed: gate), threads: 2)
    }
    /// Of the whole, or the mean over texts.
    func gini(
      _ solution: TokenBiasSolver.Solution, on inputs: Matrix, perText: Bool = false
    ) throws -> Double {
      var compared = LinearAlgebra.multiply(inputs, transposed: solution.tokenBias)
      let scores = scores(inputs)
      for index in compared.values.indices { compared.values[index] += scores.values[index] }
      let selection = Selection(rule: rule, bias: solution.selectionBias)
      let length = perText ? 128 : inputs.rows
      let ginis = try stride(from: 0, to: inputs.rows, by: length).map { start in
        let text = compared.gathering(rows: Array(start..<start + length))
        return try #require(LoadMetrics(load: selection.load(text, threads: 2)).gini)
      }
      return ginis.reduce(0, +) / Double(ginis.count)
    }
    func solve(strength: Double, threads: Int = 2) throws -> TokenBiasSolver.Solution {
      try TokenBiasSolver(
        SelectionBiasSolver(
          rule: rule, selectable: [Bool](repeating: true, count: 16), threads: threads),
        strength: strength
      ).solve(
        scores: scores(calibration), latent: calibration,
        targets: [Double](repeating: 1 / 16, count: 16), from: [Float](repeating: 0, count: 16))
    }
    let plain = try solve(strength: 0)
    #expect(plain.tokenBias.values.allSatisfy { $0 == 0 })
    let dependent = try solve(strength: 1)
    #expect(try gini(plain, on: calibration) < 0.005)
    #expect(try gini(dependent, on: calibration) < 0.005)
    let before = try gini(plain, on: heldOut, perText: true)
    #expect(try gini(dependent, on: heldOut, perText: true) < 0.95 * before)

    let other = try solve(strength: 1, threads: 3)
    #expect(other.selectionBias == dependent.selectionBias)
    #expect(other.tokenBias == dependent.tokenBias)
  }

  /// Texts of 128 tokens, which differ much in the first two of twelve dimensions.
  private static func texts(_ count: Int, _ generator: inout SeededGenerator) -> Matrix {
    var inputs = SyntheticLayer.normal(count * 128, 12, &generator)
    let drifts = SyntheticLayer.normal(count, 2, &generator)
    for token in 0..<inputs.rows {
      for column in 0..<2 { inputs[token, column] += 1.5 * drifts[token / 128, column] }
    }
    return inputs
  }
}
