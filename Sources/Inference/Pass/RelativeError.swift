// SPDX-License-Identifier: Apache-2.0
//
// How far outputs y' of a layer's routed experts are from the original's y, over some tokens t:
//
//   overall   ||y' - y||_F / ||y||_F
//   worst     max_t ||y'_t - y_t|| / ||y_t||
//
// A mean hides the token that lost all its experts; the worst one does not.

package struct RelativeError: Sendable, Hashable {
  /// The token with the largest error of its own.
  package struct Worst: Sendable, Hashable {
    package let value: Double
    package let row: Int
  }

  /// nil where y is zero, or not known.
  package let overall: Double?
  /// nil where no token with an output differs.
  package let worst: Worst?

  /// Where nothing is known.
  package static let unknown = RelativeError(overall: nil, worst: nil)
  /// Outputs that are the original's.
  package static let none = RelativeError(overall: 0, worst: nil)

  private init(overall: Double?, worst: Worst?) {
    self.overall = overall
    self.worst = worst
  }

  /// Over `rows` (nil: all) of the tokens, of which each has its ||y'_t - y_t||^2 in `distances`
  /// and its ||y_t||^2 in `norms`.
  package init(distances: [Double], norms: [Double], rows: [Int]?) {
    var (distance, norm) = (0.0, 0.0)
    var largest = (ratio: 0.0, row: 0)
    for row in rows ?? Array(norms.indices) {
      distance += distances[row]
      norm += norms[row]
      guard norms[row] > 0 else { continue }
      let ratio = distances[row] / norms[row]
      if ratio > largest.ratio { largest = (ratio, row) }
    }
    overall = norm > 0 ? (distance / norm).squareRoot() : nil
    worst =
      largest.ratio > 0 ? Worst(value: largest.ratio.squareRoot(), row: largest.row) : nil
  }

  /// The same, of tokens that are `rows` of others; nil: they are all.
  package func numbered(in rows: [Int]?) -> RelativeError {
    guard let rows, let worst else { return self }
    return RelativeError(
      overall: overall, worst: Worst(value: worst.value, row: rows[worst.row]))
  }
}
