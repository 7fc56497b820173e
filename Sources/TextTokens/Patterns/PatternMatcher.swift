// SPDX-License-Identifier: Apache-2.0

/// Finds the matches of one pattern. Reused, so that its stack is allocated once.
///
/// What becomes of a choice depends on nothing but its instruction and its position. Once a search
/// has gone back often, those that it takes up are noted, and none is twice: no pattern, whatever
/// file it comes from, takes time that is exponential in the text.
struct PatternMatcher {
  /// Published patterns go back a few times for each match.
  private static let freeReturns = 4096
  /// Bounds the notes' memory.
  private static let mostNotes = 1 << 22

  /// A point to return to: `position`, or for a run any character boundary down to `floor`.
  private struct Choice {
    var instruction: Int
    var position: Int
    var floor: Int
  }

  let pattern: Pattern
  private var choices: [Choice] = []
  private var returns = 0
  private var tried: Set<Int> = []

  init(_ pattern: Pattern) { self.pattern = pattern }

  /// The leftmost match in `range` of `text` (valid UTF-8) at or after `start`. What lies outside
  /// of `range` is not seen.
  mutating func next(in text: [UInt8], range: Range<Int>, from start: Int) -> Range<Int>? {
    var position = start
    returns = 0
    if !tried.isEmpty { tried = [] }
    while position < range.upperBound {
      let (mask, length) = pattern.table.scalar(in: text, at: position)
      for entry in pattern.entries where entry.first & mask != 0 {
        if let end = match(entry.start, in: text, range: range, at: position) {
          return position..<end
        }
      }
      position += length
      // No character of a run can begin a match where its first cannot.
      if mask & pattern.leadingRun != 0 {
        position = skip(pattern.leadingRun, in: text, range: range, at: position)
      }
    }
    return nil
  }

  private func skip(_ bit: UInt64, in text: [UInt8], range: Range<Int>, at start: Int) -> Int {
    var position = start
    while position < range.upperBound {
      let (mask, length) = pattern.table.scalar(in: text, at: position)
      if mask & bit == 0 { break }
      position += length
    }
    return position
  }

  /// The end of a match that begins at `start`.
  private mutating func match(
    _ entry: Int, in text: [UInt8], range: Range<Int>, at start: Int
  ) -> Int? {
    let bottom = choices.count
    defer { if choices.count > bottom { choices.removeSubrange(bottom...) } }
    var position = start
    var index = entry
    while true {
      let instruction = pattern.instructions[index]
      var alive = true
      switch instruction.operation {
      case .accept: return position
      case .one:
        alive = take(instruction.bit, in: text, range: range, at: &position)
        index += 1
      case .run:
        alive = run(instruction, index + 1, in: text, range: range, at: &position)
        index += 1
      case .split:
        choices.append(Choice(instruction: instruction.other, position: position, floor: position))
        index = instruction.target
      case .jump: index = instruction.target
      case .anchor:
        alive = holds(instruction.anchor, in: text, range: range, at: position)
        index += 1
      case .look:
        let found = looksAhead(index + 1, in: text, range: range, at: position)
        alive = found != instruction.flag
        index = instruction.target
      }
      if !alive {
        guard let choice = backtrack(to: bottom, in: text) else { return nil }
        (index, position) = choice
      }
    }
  }

  /// Whether the look-ahead that begins at `entry` is met. Its choices may have led to its end, so
  /// that they are noted apart.
  private mutating func looksAhead(
    _ entry: Int, in text: [UInt8], range: Range<Int>, at start: Int
  ) -> Bool {
    let outer = (returns, tried)
    (returns, tried) = (0, [])
    defer { (returns, tried) = outer }
    return match(entry, in: text, range: range, at: start) != nil
  }

  @inline(__always)
  private func take(
    _ bit: UInt64, in text: [UInt8], range: Range<Int>, at position: inout Int
  ) -> Bool {
    guard position < range.upperBound else { return false }
    let (mask, length) = pattern.table.scalar(in: text, at: position)
    guard mask & bit != 0 else { return false }
    position += length
    return true
  }

  /// Takes as many characters as it may, and notes that some can be given back.
  @inline(__always)
  private mutating func run(
    _ instruction: Pattern.Instruction, _ next: Int, in text: [UInt8], range: Range<Int>,
    at position: inout Int
  ) -> Bool {
    var count = 0
    var floor = position
    while count < instruction.most,
      take(instruction.bit, in: text, range: range, at: &position)
    {
      count += 1
      if count == instruction.least { floor = position }
    }
    guard count >= instruction.least else { return false }
    if !instruction.flag, position > floor {
      choices.append(Choice(instruction: ~next, position: position, floor: floor))
    }
    return true
  }

  /// Takes up the latest choice above `bottom` that was not taken up before.
  private mutating func backtrack(to bottom: Int, in text: [UInt8]) -> (Int, Int)? {
    while choices.count > bottom {
      // A run that stands alone is gone back through once.
      let isAlone = choices.count == bottom + 1
      let choice = nextChoice(in: text)
      returns += 1
      guard returns > PatternMatcher.freeReturns, !isAlone else { return choice }
      if tried.count == PatternMatcher.mostNotes { tried = [] }
      if tried.insert(choice.0 * (text.count + 1) + choice.1).inserted { return choice }
    }
    return nil
  }

  /// The latest choice. Those of runs are marked by a complement.
  private mutating func nextChoice(in text: [UInt8]) -> (Int, Int) {
    let last = choices.count - 1
    let choice = choices[last]
    if choice.instruction >= 0 {
      choices.removeLast()
      return (choice.instruction, choice.position)
    }
    var position = choice.position - 1
    while text[position] & 0xC0 == 0x80 { position -= 1 }
    if position > choice.floor {
      choices[last].position = position
    } else {
      choices.removeLast()
    }
    return (~choice.instruction, position)
  }

  private func holds(
    _ anchor: PatternAnchor, in text: [UInt8], range: Range<Int>, at position: Int
  ) -> Bool {
    let newline = UInt8(ascii: "\n")
    return switch anchor {
    case .textStart: position == range.lowerBound
    case .textEnd: position == range.upperBound
    case .lineStart: position == range.lowerBound || text[position - 1] == newline
    case .lineEnd: position == range.upperBound || text[position] == newline
    }
  }
}
