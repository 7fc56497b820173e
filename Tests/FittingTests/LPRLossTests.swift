// SPDX-License-Identifier: Apache-2.0

import Fitting
import Foundation
import Routing
import Tensors
import TestSupport
import Testing

/// Against `fixtures/lpr/losses.safetensors`, written by `tools/fixtures/lpr_goldens.py`.
struct LPRLossTests {
  let golden: GoldenTensors

  init() throws {
    golden = try GoldenTensors(fixtures.appending(path: "lpr/losses.safetensors"))
  }

  @Test(arguments: Diversity.allCases, ["mean", "prototypes"])
  func `diversity has the official value and gradient`(_ kind: Diversity, rows: String) throws {
    let result = kind.evaluate(try golden.matrix(rows), threads: 2)
    let name = "diversity.\(kind.rawValue).\(rows)"
    expectClose(Float(result.value), try golden[name].values[0])
    expectClose(result.gradient, try golden.matrix(name + ".gradient"))
  }

  @Test(arguments: Diversity.allCases) func `one row has no diversity`(_ kind: Diversity) {
    let result = kind.evaluate(Matrix(rows: 1, columns: 2, values: [1, 2]), threads: 1)
    #expect(result.value == 0 && result.gradient.values == [0, 0])
  }

  @Test func `equal rows: cosine 1, distance 0 and no gradient between them`() {
    let rows = Matrix(rows: 3, columns: 2, values: [3, 4, 3, 4, 3, 4])
    #expect(abs(Diversity.cosine.evaluate(rows, threads: 1).value - 1) < 1e-6)
    let euclidean = Diversity.euclidean.evaluate(rows, threads: 1)
    #expect(euclidean.value == 0 && euclidean.gradient.values.allSatisfy { $0 == 0 })
  }

  @Test func `the KL loss has the official value and gradients`() throws {
    let result = LatentLosses.divergence(
      try golden.matrix("mean"), logVariance: try golden.matrix("log_variance"))
    expectClose(Float(result.value), try golden["kl"].values[0])
    expectClose(result.mean, try golden.matrix("kl.gradient.mean"))
    expectClose(result.logVariance, try golden.matrix("kl.gradient.log_variance"))
  }

  @Test func `a sample of the latent is the official one`() throws {
    let latent = LatentGaussian(
      mean: try golden.matrix("mean"), logVariance: try golden.matrix("log_variance"))
    expectClose(
      LatentLosses.sample(latent, noise: try golden.matrix("noise")),
      try golden.matrix("sample"))
  }

  @Test func `the mended alignment does not depend on how often the batch is repeated`() throws {
    let sample = try golden.matrix("sample")
    let prototypes = try golden.matrix("prototypes")
    // Expert 7 has no tokens and counts for nothing.
    var hard = Matrix(rows: 16, columns: 8)
    for token in 0..<16 { hard[token, token % 7] = 0.5 }
    func value(_ tokens: [Int]) -> Double {
      LatentLosses.alignment(
        prototypes: prototypes, sample: sample.gathering(rows: tokens),
        responsibilities: hard.gathering(rows: tokens)
      ).value
    }
    let once = Array(0..<16)
    #expect(abs(value(once) - value(once + once)) < 1e-6)
    // By hand: expert 0 holds tokens 0, 7, 14.
    var sum = 0.0
    for expert in 0..<7 {
      let tokens = once.filter { $0 % 7 == expert }
      for column in 0..<5 {
        let mean = tokens.reduce(0.0) { $0 + Double(sample[$1, column]) } / Double(tokens.count)
        sum += abs(Double(prototypes[expert, column]) - mean)
      }
    }
    #expect(abs(value(once) - sum / 35) < 1e-6)
    let gradient = LatentLosses.alignment(
      prototypes: prototypes, sample: sample, responsibilities: hard
    ).gradient
    #expect(gradient.row(7).allSatisfy { $0 == 0 })
    #expect(gradient.row(0).allSatisfy { abs(abs($0) - 1 / 35) < 1e-7 })
  }

  @Test func `the balance term is 0 at the targets and pushes against overload`() {
    let even = LatentLosses.balance(
      Matrix(rows: 2, columns: 2, values: [0.2, 0.8, 0.8, 0.2]), targets: [0.5, 0.5])
    #expect(even.value < 1e-12 && even.gradient.allSatisfy { abs($0) < 1e-6 })
    let skewed = LatentLosses.balance(
      Matrix(rows: 2, columns: 2, values: [0.9, 0.1, 0.7, 0.3]), targets: [0.5, 0.5])
    // (0.3² + 0.3²) / 0.5; 2 * 0.3 / 0.5 / 2 tokens.
    #expect(abs(skewed.value - 0.36) < 1e-6)
    #expect(abs(skewed.gradient[0] - 0.6) < 1e-6 && abs(skewed.gradient[1] + 0.6) < 1e-6)
  }

  private func expectClose(_ found: Float, _ expected: Float) {
    #expect(abs(found - expected) <= 1e-5 * max(abs(expected), 0.01))
  }

  /// Relative to the largest value.
  private func expectClose(_ found: Matrix, _ expected: Matrix) {
    #expect(found.rows == expected.rows && found.columns == expected.columns)
    let largest = expected.values.reduce(0) { max($0, abs($1)) }
    let worst = zip(found.values, expected.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
    #expect(largest > 0 && worst <= 1e-5 * largest, "regenerate with lpr_goldens.py")
  }
}

extension GoldenTensors {
  func matrix(_ name: String) throws -> Matrix {
    let tensor = try self[name]
    return tensor.shape.count == 1
      ? Matrix(row: tensor.values)
      : Matrix(rows: tensor.shape[0], columns: tensor.shape[1], values: tensor.values)
  }
}
