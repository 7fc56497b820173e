// SPDX-License-Identifier: Apache-2.0

import Foundation
import Routing
import Tensors
import TestSupport
import Testing

struct LoadMetricsTests {
  @Test func `figures of a small load, by hand`() throws {
    let metrics = LoadMetrics(load: [4, 0, 2, 2])
    // Sorted 0 2 2 4: (-3*0 - 1*2 + 1*2 + 3*4) / (4 * 8).
    #expect(metrics.gini == 12.0 / 32)
    #expect(metrics.minOverMax == 0)
    #expect(metrics.maxOverMean == 2)
    #expect(metrics.coefficientOfVariation == (8.0 / 4).squareRoot() / 2)
    #expect(metrics.deadExperts == 1)
    let entropy = try #require(metrics.normalisedEntropy)
    #expect(abs(entropy - 1.5 * log(2.0) / log(4.0)) < 1e-12)
    #expect(metrics.samplingFloor == 1 / (Double.pi * 2).squareRoot())
  }

  @Test func `uniform load is perfect`() throws {
    let metrics = LoadMetrics(load: [5, 5, 5])
    #expect(metrics.gini == 0)
    #expect(metrics.minOverMax == 1)
    #expect(metrics.coefficientOfVariation == 0)
    #expect(metrics.maxOverMean == 1)
    #expect(abs(try #require(metrics.normalisedEntropy) - 1) < 1e-12)
  }

  @Test func `everything on one expert gives Gini 1 - 1/n`() {
    #expect(LoadMetrics(load: [0, 0, 0, 9]).gini == 0.75)
    #expect(LoadMetrics(load: [0, 0, 0, 9]).normalisedEntropy == 0)
  }

  @Test func `without tokens relative figures are undefined`() {
    let metrics = LoadMetrics(load: [0, 0])
    #expect(metrics.gini == nil && metrics.minOverMax == nil && metrics.maxOverMean == nil)
    #expect(metrics.coefficientOfVariation == nil && metrics.normalisedEntropy == nil)
    #expect(metrics.samplingFloor == nil)
    #expect(metrics.deadExperts == 2)
    #expect(LoadMetrics.rankImbalance(load: [0, 0], ranks: 2) == nil)
  }

  @Test(arguments: [
    [1, 1, 1, 1, 1, 1, 1, 1], [40, 20, 9, 5, 4, 2, 1, 1], [0, 0, 3, 3, 8, 8, 9, 1],
  ])
  func `the variance of a Gini is that of samples of its size`(_ shares: [Int]) throws {
    var generator = SeededGenerator(seed: 17)
    let ladder = shares.enumerated().flatMap { Array(repeating: $0.offset, count: $0.element) }
    func draw() -> [Int] {
      var load = [Int](repeating: 0, count: shares.count)
      for _ in 0..<400 { load[ladder[Int.random(in: ladder.indices, using: &generator)]] += 1 }
      return load
    }
    let ginis = try (0..<2000).map { _ in
      try #require(LoadMetrics.gini(draw().map(Double.init)))
    }
    let mean = ginis.reduce(0, +) / Double(ginis.count)
    let variance = ginis.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(ginis.count)
    let found = try (0..<20).map { _ in try #require(LoadMetrics.giniVariance(draw())) }
    // First order: near an even load the order of the experts is chance too, and it says more.
    let ratio = found.reduce(0, +) / Double(found.count) / variance
    #expect(ratio > 0.9 && ratio < 2.5, "\(ratio)")
    #expect(LoadMetrics.giniVariance([0, 0]) == nil)
    #expect(LoadMetrics.giniVariance([5, 0, 0]) == 0)
  }

  @Test func `ranks hold contiguous experts`() {
    #expect(LoadMetrics.rankImbalance(load: [3, 1, 1, 3], ranks: 2) == 1)
    #expect(LoadMetrics.rankImbalance(load: [3, 3, 1, 1], ranks: 2) == 1.5)
    // Three experts on the first rank, two on the second: 6 and 2, mean 4.
    #expect(LoadMetrics.rankImbalance(load: [2, 2, 2, 1, 1], ranks: 2) == 1.5)
  }

  @Test func `batches are full runs of consecutive tokens`() {
    let assignment = Assignment(
      tokens: 5, topK: 1, experts: [0, 0, 0, 1, 1], weights: [1, 1, 1, 1, 1])
    // Batches [0 0] and [0 1]: max/mean 2 and 1; the fifth token is left out.
    #expect(assignment.batchImbalance(experts: 2, batch: 2) == 1.5)
    #expect(assignment.batchImbalance(experts: 2, batch: 6) == nil)
  }

  @Test func `agreement counts logical experts, duplicates and weights`() {
    let original = Assignment(
      tokens: 2, topK: 2, experts: [0, 1, 2, 3], weights: [0.75, 0.25, 0.5, 0.5])
    // Experts 0 and 1 are both copies of 0 in the patched model.
    let patched = Assignment(
      tokens: 2, topK: 2, experts: [0, 1, 3, 2], weights: [0.5, 0.5, 1, 1])
    let agreement = RoutingAgreement(
      original: original, originalMap: [0, 1, 2, 3], patched: patched, patchedMap: [0, 0, 2, 3])
    #expect(agreement.overlap == 0.75)
    #expect(agreement.duplicateRate == 0.25)
    // Token 0: p = (0.75, 0.25), q = (1, 0); token 1 agrees although its weights sum to 2.
    let e = RoutingAgreement.smoothing
    let expected =
      0.75 * log(0.75 / ((1 - e) * 1 + e * 0.75)) + 0.25 * log(0.25 / (e * 0.25))
    #expect(abs(agreement.divergence - expected / 2) < 1e-12)
  }

  @Test func `gate statistics, by hand`() throws {
    let gate = Matrix(rows: 2, columns: 3, values: [3, 0, 0, 0, 4, 0])
    let statistics = try GateStatistics(gate: gate, bias: [-1, 2])
    #expect(statistics.minRowNorm == 3 && statistics.maxRowNorm == 4)
    #expect(statistics.meanRowNorm == 3.5)
    #expect(statistics.maxCosine == 0)
    let p = 3.0 / 7
    let entropy = -p * log(p) - (1 - p) * log(1 - p)
    #expect(abs(try #require(statistics.effectiveRank) - exp(entropy)) < 1e-9)
    #expect(statistics.biasRange == -1...2)

    let opposite = try GateStatistics(
      gate: Matrix(rows: 2, columns: 1, values: [1, -1]), bias: [.nan, 0])
    #expect(abs(try #require(opposite.maxCosine) + 1) < 1e-12)
    #expect(abs(try #require(opposite.effectiveRank) - 1) < 1e-6)
    #expect(opposite.biasRange == nil)
    #expect(try GateStatistics(gate: Matrix(rows: 2, columns: 2)).effectiveRank == nil)
  }
}
