// SPDX-License-Identifier: Apache-2.0
//
// How evenly top-k assignments fall on physical experts, n of them with loads x, x_(i) the i-th
// smallest:
//
//   Gini              sum_i (2i - n - 1) x_(i) / (n sum x)
//   min/max           min x / max x
//   CV                population standard deviation / mean
//   max/mean          what the slowest of equal workers takes, relative to perfect balance
//   entropy           -sum q log q / log n, q = x / sum x
//   sampling floor    1 / sqrt(pi lambda), lambda = sum x / n: the Gini that independent draws from
//                     a perfectly balanced router show on a sample of this size
//   variance of Gini  sum_i x_(i) ((2i - n - 1) / n - Gini)^2 / (sum x)^2: to first order, where
//                     the assignments are independent draws
//
// Edge cases: everything relative is nil when no token was counted.

import Foundation

/// Balance figures of one load vector.
public struct LoadMetrics: Sendable, Hashable, Codable {
  /// 0 for uniform load, towards 1 where one expert takes all.
  public let gini: Double?
  /// Least over most used expert; 1 for uniform load.
  public let minOverMax: Double?
  /// Population standard deviation over the mean.
  public let coefficientOfVariation: Double?
  /// Most used expert over the mean; 1 for uniform load.
  public let maxOverMean: Double?
  /// Experts that no token was sent to.
  public let deadExperts: Int
  /// 1 for uniform load; nil also for a single expert.
  public let normalisedEntropy: Double?
  /// The Gini that perfect balance shows on a sample of this size.
  public let samplingFloor: Double?

  private enum CodingKeys: String, CodingKey {
    case gini
    case minOverMax = "min_max"
    case coefficientOfVariation = "cv"
    case maxOverMean = "max_over_mean"
    case deadExperts = "dead_experts"
    case normalisedEntropy = "normalised_entropy"
    case samplingFloor = "sampling_floor"
  }

  /// `load`: assignments per physical expert, counted.
  public init(load: [Int]) {
    deadExperts = load.count { $0 == 0 }
    let n = Double(load.count)
    let total = load.reduce(0.0) { $0 + Double($1) }
    guard total > 0 else {
      gini = nil
      minOverMax = nil
      coefficientOfVariation = nil
      maxOverMean = nil
      normalisedEntropy = nil
      samplingFloor = nil
      return
    }
    let sorted = load.sorted().map(Double.init)
    let mean = total / n
    var squares = 0.0
    var entropy = 0.0
    for value in sorted {
      squares += (value - mean) * (value - mean)
      if value > 0 { entropy -= value / total * log(value / total) }
    }
    gini = Self.gini(sorted)
    minOverMax = sorted[0] / sorted[sorted.count - 1]
    coefficientOfVariation = (squares / n).squareRoot() / mean
    maxOverMean = sorted[sorted.count - 1] / mean
    normalisedEntropy = load.count > 1 ? entropy / log(n) : nil
    samplingFloor = 1 / (Double.pi * mean).squareRoot()
  }

  /// The Gini coefficient of `loads`; nil when they sum to nothing.
  package static func gini(_ loads: [Double]) -> Double? {
    let n = Double(loads.count)
    let total = loads.reduce(0, +)
    guard total > 0 else { return nil }
    var weighted = 0.0
    for (index, value) in loads.sorted().enumerated() {
      weighted += (2 * Double(index + 1) - n - 1) * value
    }
    return weighted / (n * total)
  }

  /// The variance of the Gini of `load` over samples of its size; nil when it sums to nothing.
  package static func giniVariance(_ load: [Int]) -> Double? {
    let n = Double(load.count)
    let total = load.reduce(0.0) { $0 + Double($1) }
    guard let gini = gini(load.map(Double.init)) else { return nil }
    var sum = 0.0
    for (index, value) in load.sorted().enumerated() {
      let slope = (2 * Double(index + 1) - n - 1) / n - gini
      sum += Double(value) * slope * slope
    }
    return sum / (total * total)
  }

  /// Max/mean over `ranks` expert-parallel ranks that hold contiguous experts; where they do not
  /// divide evenly the first ranks hold one more. Nil when no token was counted.
  public static func rankImbalance(load: [Int], ranks: Int) -> Double? {
    precondition(ranks > 0 && ranks <= load.count)
    let (share, extra) = load.count.quotientAndRemainder(dividingBy: ranks)
    var start = 0
    var sums: [Int] = []
    for rank in 0..<ranks {
      let end = start + share + (rank < extra ? 1 : 0)
      sums.append(load[start..<end].reduce(0, +))
      start = end
    }
    return LoadMetrics(load: sums).maxOverMean
  }
}

extension Assignment {
  /// The mean over all full batches of `batch` consecutive tokens of max/mean expert load; nil when
  /// there is no full batch.
  public func batchImbalance(experts: Int, batch: Int) -> Double? {
    meanOverBatches(experts: experts, batch: batch) { LoadMetrics(load: $0).maxOverMean }
  }

  /// The mean over the same batches of how many distinct experts one uses: what has to be read for
  /// it.
  package func batchDistinctExperts(experts: Int, batch: Int) -> Double? {
    meanOverBatches(experts: experts, batch: batch) { Double($0.count { $0 > 0 }) }
  }

  private func meanOverBatches(
    experts count: Int, batch: Int, _ figure: ([Int]) -> Double?
  ) -> Double? {
    precondition(batch > 0)
    let batches = tokens / batch
    guard batches > 0, topK > 0 else { return nil }
    var sum = 0.0
    for index in 0..<batches {
      var load = [Int](repeating: 0, count: count)
      let entries = index * batch * topK..<(index + 1) * batch * topK
      for expert in experts[entries] { load[Int(expert)] += 1 }
      sum += figure(load) ?? 0
    }
    return sum / Double(batches)
  }
}
