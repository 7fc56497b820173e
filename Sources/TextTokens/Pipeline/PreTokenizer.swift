// SPDX-License-Identifier: Apache-2.0

/// One step of cutting text into pieces.
enum PreTokenizerStep: Sendable {
  case split(Pattern, SplitBehavior, inverted: Bool)
  /// As a split by a pattern that matches these groups.
  case groups(DigitGroups, SplitBehavior)
  /// Puts a space before a piece that does not begin with one.
  case spacePrefix
  /// Spells spaces as `marker`, puts one before the piece, and may cut before each.
  case metaspace(marker: [UInt8], prefix: MetaspacePrefix, splits: Pattern?)
}

/// What becomes of the matches of a split.
enum SplitBehavior: String, Sendable {
  case isolated = "Isolated"
  case removed = "Removed"
  case contiguous = "Contiguous"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
}

/// Where Metaspace puts its marker: before every piece, before the start of the text, nowhere.
enum MetaspacePrefix: String, Sendable { case always, first, never }

/// Cuts text into pieces, step by step, and hands each piece on before the next is made: nothing
/// is kept per piece.
struct PreTokenizer {
  private let steps: [PreTokenizerStep]
  private var finders: [PieceFinder?]

  init(_ steps: [PreTokenizerStep]) {
    self.steps = steps
    finders = steps.map {
      switch $0 {
      case .split(let pattern, _, _): PieceFinder(matcher: PatternMatcher(pattern))
      case .groups(let groups, _): PieceFinder(groups: groups)
      case .metaspace(_, _, let pattern): pattern.map { PieceFinder(matcher: PatternMatcher($0)) }
      case .spacePrefix: nil
      }
    }
  }

  /// Calls `body` with the pieces of `range`. `first` says that the range starts the document.
  mutating func cut(
    _ text: [UInt8], _ range: Range<Int>, first: Bool,
    _ body: (_ text: [UInt8], _ piece: Range<Int>) -> Void
  ) {
    cut(text, range, first: first, step: 0, body)
  }

  private mutating func cut(
    _ text: [UInt8], _ range: Range<Int>, first: Bool, step: Int,
    _ body: (_ text: [UInt8], _ piece: Range<Int>) -> Void
  ) {
    if range.isEmpty { return }
    guard step < steps.count else { return body(text, range) }
    switch steps[step] {
    case .split(_, let behavior, let inverted):
      split(text, range, first: first, step: step, behavior, inverted, body)
    case .groups(_, let behavior):
      split(text, range, first: first, step: step, behavior, false, body)
    case .spacePrefix:
      if text[range.lowerBound] == UInt8(ascii: " ") {
        return cut(text, range, first: first, step: step + 1, body)
      }
      let prefixed = [UInt8(ascii: " ")] + text[range]
      cut(prefixed, 0..<prefixed.count, first: first, step: step + 1, body)
    case .metaspace(let marker, let prefix, let pattern):
      let spelled = PreTokenizer.metaspace(text[range], marker, prefix, first: first)
      let all = 0..<spelled.count
      if pattern == nil {
        cut(spelled, all, first: first, step: step + 1, body)
      } else {
        split(spelled, all, first: first, step: step, .mergedWithNext, false, body)
      }
    }
  }

  private static func metaspace(
    _ text: ArraySlice<UInt8>, _ marker: [UInt8], _ prefix: MetaspacePrefix, first: Bool
  ) -> [UInt8] {
    var spelled: [UInt8] = []
    spelled.reserveCapacity(text.count + text.count / 4 + marker.count)
    let wanted = prefix == .always || (prefix == .first && first)
    if wanted, text.first != UInt8(ascii: " "), !text.starts(with: marker) { spelled += marker }
    for byte in text {
      if byte == UInt8(ascii: " ") { spelled += marker } else { spelled.append(byte) }
    }
    return spelled
  }

  /// Cuts by what the finder of `step` finds. Runs between matches are no matches; `held` is what
  /// may still grow, by the behavior.
  private mutating func split(
    _ text: [UInt8], _ range: Range<Int>, first: Bool, step: Int, _ behavior: SplitBehavior,
    _ inverted: Bool, _ body: (_ text: [UInt8], _ piece: Range<Int>) -> Void
  ) {
    // Taken out, so that its stack is not copied when it grows.
    var finder = finders[step].take()
    var joiner = PieceJoiner(behavior)
    var done = range.lowerBound
    while done < range.upperBound {
      let match = finder?.next(in: text, range: range, from: done)
      let gap = done..<(match?.lowerBound ?? range.upperBound)
      if !gap.isEmpty, let piece = joiner.add(gap, isMatch: inverted) {
        cut(text, piece, first: first && piece.lowerBound == range.lowerBound, step: step + 1, body)
      }
      if let match, let piece = joiner.add(match, isMatch: !inverted) {
        cut(text, piece, first: first && piece.lowerBound == range.lowerBound, step: step + 1, body)
      }
      done = match?.upperBound ?? range.upperBound
    }
    if let piece = joiner.held {
      cut(text, piece, first: first && piece.lowerBound == range.lowerBound, step: step + 1, body)
    }
    finders[step] = finder
  }
}

/// Finds what a step cuts at.
private struct PieceFinder {
  var matcher: PatternMatcher?
  var groups: DigitGroups?

  mutating func next(in text: [UInt8], range: Range<Int>, from start: Int) -> Range<Int>? {
    matcher?.next(in: text, range: range, from: start)
      ?? groups?.next(in: text, range: range, from: start)
  }
}

/// Joins matches and the runs between them as a behavior wants it.
struct PieceJoiner {
  private let behavior: SplitBehavior
  private(set) var held: Range<Int>?
  private var heldIsMatch = false

  init(_ behavior: SplitBehavior) { self.behavior = behavior }

  /// Takes the next range and returns the one that is complete now.
  mutating func add(_ range: Range<Int>, isMatch: Bool) -> Range<Int>? {
    guard !(behavior == .removed && isMatch) else {
      defer { held = nil }
      return held
    }
    let joins =
      switch behavior {
      case .isolated, .removed: false
      case .contiguous: isMatch == heldIsMatch
      case .mergedWithPrevious: isMatch && !heldIsMatch
      case .mergedWithNext: heldIsMatch && !isMatch
      }
    defer { heldIsMatch = isMatch }
    if joins, let before = held {
      held = before.lowerBound..<range.upperBound
      return nil
    }
    defer { held = range }
    return held
  }
}
