// SPDX-License-Identifier: Apache-2.0

extension Collection<Double> {
  /// The smallest element that at least `share` of all, above 0 up to 1, do not exceed (nearest
  /// rank); nil where there is none.
  package func percentile(_ share: Double) -> Double? {
    guard !isEmpty else { return nil }
    let rank = Int((Double(count) * share).rounded(.up))
    return sorted()[Swift.min(Swift.max(rank, 1), count) - 1]
  }
}
