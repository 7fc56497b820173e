// SPDX-License-Identifier: Apache-2.0

/// Mean, worst and percentiles of one figure over layers.
package struct LayerStatistics: Sendable {
  /// From best to worst.
  private let known: [Double]

  /// `values` of all layers; `largestIsWorst` tells the direction. Undefined values are left out.
  package init(_ values: [Double?], largestIsWorst: Bool) {
    known = values.compactMap { $0 }.sorted { largestIsWorst ? $0 < $1 : $0 > $1 }
  }

  package var mean: Double? {
    known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
  }
  package var worst: Double? { known.last }
  package var p50: Double? { percentile(50) }
  package var p75: Double? { percentile(75) }
  package var p90: Double? { percentile(90) }
  package var p95: Double? { percentile(95) }

  /// Nearest rank: the best value that at least so many % of the layers do not exceed.
  private func percentile(_ percent: Int) -> Double? {
    known.isEmpty ? nil : known[max(0, (known.count * percent + 99) / 100 - 1)]
  }
}
