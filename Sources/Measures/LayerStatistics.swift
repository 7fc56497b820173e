// SPDX-License-Identifier: Apache-2.0

/// Mean, worst and 90th percentile of one figure over layers.
package struct LayerStatistics: Sendable {
  package let mean: Double?
  package let worst: Double?
  package let p90: Double?

  /// `values` of all layers; `largestIsWorst` tells the direction. Undefined values are left out.
  package init(_ values: [Double?], largestIsWorst: Bool) {
    let known = values.compactMap { $0 }.sorted { largestIsWorst ? $0 < $1 : $0 > $1 }
    guard !known.isEmpty else {
      mean = nil
      worst = nil
      p90 = nil
      return
    }
    mean = known.reduce(0, +) / Double(known.count)
    worst = known[known.count - 1]
    // Nearest rank: the smallest value that at least 90 % of the layers do not exceed.
    p90 = known[max(0, (known.count * 9 + 9) / 10 - 1)]
  }
}
