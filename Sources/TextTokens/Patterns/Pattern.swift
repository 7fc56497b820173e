// SPDX-License-Identifier: Apache-2.0

// A pattern compiled for a backtracking matcher over UTF-8.
//
// 1. Every character class is one bit of a `ClassTable`: a test is one lookup.
// 2. The alternatives at the top are tried in order, but only those that can begin with the
//    character at hand.
// 3. A repeated class is one instruction. It gives characters back only where what follows could
//    take them; the others never need to be tried again.

/// A compiled pattern.
struct Pattern: Sendable {
  struct Instruction: Sendable {
    enum Operation: UInt8, Sendable { case one, run, split, jump, look, anchor, accept }
    var operation: Operation
    /// The bit of the class.
    var bit: UInt64 = 0
    /// run: bounds of the repetition.
    var least = 0
    var most = 0
    /// run: keeps all that it took. look: succeeds where its body fails.
    var flag = false
    /// split: tried first. jump: the target. look: where to go on.
    var target = 0
    /// split: tried second.
    var other = 0
    var anchor = PatternAnchor.lineStart
  }

  struct Entry: Sendable {
    /// Classes of the characters that it can begin with.
    var first: UInt64
    var start: Int
  }

  let text: String
  let table: ClassTable
  let instructions: [Instruction]
  let entries: [Entry]
  /// Where the whole pattern is one possessive run and what follows it: a failure in a run of the
  /// class holds for each of its other characters.
  let leadingRun: UInt64

  init(_ text: String) throws(PatternProblem) {
    let node = try PatternParser.parse(text)
    guard !node.matchesEmpty else {
      throw PatternProblem(problem: "the pattern can match nothing at all")
    }
    self = try PatternCompiler.compile(node, text: text)
  }

  /// A pattern that matches exactly `literal`.
  init(literal: String) throws(PatternProblem) {
    let nodes = literal.unicodeScalars.map { PatternNode.set(ScalarSet($0)) }
    guard !nodes.isEmpty else { throw PatternProblem(problem: "the pattern is empty") }
    self = try PatternCompiler.compile(.sequence(nodes), text: literal)
  }

  init(
    text: String, table: ClassTable, instructions: [Instruction], entries: [Entry],
    leadingRun: UInt64
  ) {
    self.text = text
    self.table = table
    self.instructions = instructions
    self.entries = entries
    self.leadingRun = leadingRun
  }
}
