// SPDX-License-Identifier: Apache-2.0

/// Finds groups of three digits, counted from the end of each run, as thousands are written.
///
/// A pattern can say the same with a look-ahead, but in time that is quadratic in a run's length.
struct DigitGroups: Sendable {
  private let table: ClassTable
  /// Whether the one or two digits that are left over at the start of a run are a group too.
  private let takesRest: Bool
  /// Digits of the run at hand that are not grouped yet.
  private var left = 0

  init(of digits: ScalarSet, takesRest: Bool) {
    table = ClassTable([digits])
    self.takesRest = takesRest
  }

  /// The next group at or after `start`. Calls go on from the end of the group before.
  mutating func next(in text: [UInt8], range: Range<Int>, from start: Int) -> Range<Int>? {
    var position = start
    while position < range.upperBound {
      if left == 0 { left = run(in: text, range, from: position) }
      let count = left % 3 == 0 ? min(left, 3) : left % 3
      left -= count
      let end = advance(position, by: max(count, 1), in: text)
      if count == 3 || count > 0 && takesRest { return position..<end }
      position = end
    }
    return nil
  }

  /// How many digits there are from `start` on.
  private func run(in text: [UInt8], _ range: Range<Int>, from start: Int) -> Int {
    var position = start
    var count = 0
    while position < range.upperBound {
      let (mask, length) = table.scalar(in: text, at: position)
      if mask == 0 { break }
      position += length
      count += 1
    }
    return count
  }

  private func advance(_ start: Int, by count: Int, in text: [UInt8]) -> Int {
    (0..<count).reduce(start) { position, _ in
      position + table.scalar(in: text, at: position).length
    }
  }
}
