// SPDX-License-Identifier: Apache-2.0

/// A set of Unicode scalar values, as sorted ranges that neither overlap nor touch.
struct ScalarSet: Hashable, Sendable {
  static let last: UInt32 = 0x10FFFF

  let ranges: [ClosedRange<UInt32>]

  /// The union of `ranges`, in any order.
  init(_ ranges: [ClosedRange<UInt32>]) {
    var merged: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let previous = merged.last, range.lowerBound <= previous.upperBound &+ 1 {
        let upper = max(previous.upperBound, range.upperBound)
        merged[merged.count - 1] = previous.lowerBound...upper
      } else {
        merged.append(range)
      }
    }
    self.ranges = merged
  }

  init(_ scalars: Unicode.Scalar...) {
    self.init(scalars.map { $0.value...$0.value })
  }

  var isEmpty: Bool { ranges.isEmpty }

  func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }

  var inverted: ScalarSet {
    var gaps: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { gaps.append(next...range.lowerBound - 1) }
      next = range.upperBound + 1
    }
    if next <= ScalarSet.last { gaps.append(next...ScalarSet.last) }
    return ScalarSet(gaps)
  }

  func intersection(_ other: ScalarSet) -> ScalarSet {
    inverted.union(other.inverted).inverted
  }

  func contains(_ value: UInt32) -> Bool { ranges.contains { $0.contains(value) } }

  /// With the other cases of its ASCII letters, as Unicode's simple case folding has them: the
  /// long s folds to s, the Kelvin sign to k.
  var foldingASCII: ScalarSet {
    var folded = ranges
    for upper in UInt32(0x41)...0x5A where contains(upper) || contains(upper + 0x20) {
      folded += [upper...upper, upper + 0x20...upper + 0x20]
      if upper == 0x53 { folded.append(0x17F...0x17F) }
      if upper == 0x4B { folded.append(0x212A...0x212A) }
    }
    return ScalarSet(folded)
  }
}
