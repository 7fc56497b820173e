// SPDX-License-Identifier: Apache-2.0

/// Turns a parsed pattern into instructions.
struct PatternCompiler {
  /// Far beyond published patterns; bounds what a file can make of nested repetitions.
  private static let instructionLimit = 4096

  private var classes: [ScalarSet: Int] = [:]
  private var instructions: [Pattern.Instruction] = []

  static func compile(_ node: PatternNode, text: String) throws(PatternProblem) -> Pattern {
    var compiler = PatternCompiler()
    try compiler.collect(node)
    let ordered = compiler.classes.sorted { $0.value < $1.value }.map(\.key)
    let table = ClassTable(ordered)
    var entries: [Pattern.Entry] = []
    let tops = compiler.topAlternatives(node)
    for top in tops {
      entries.append(
        Pattern.Entry(first: compiler.first(top).bits, start: compiler.instructions.count))
      try compiler.emit(top)
      try compiler.append(Pattern.Instruction(operation: .accept))
    }
    compiler.makePossessive(table)
    let lead = compiler.instructions[0]
    let single = tops.count == 1 && lead.operation == .run && lead.flag && lead.most == .max
    return Pattern(
      text: text, table: table, instructions: compiler.instructions, entries: entries,
      leadingRun: single && lead.least <= 1 ? lead.bit : 0)
  }

  /// The alternatives at the top, with groups that hold nothing but alternatives opened.
  private func topAlternatives(_ node: PatternNode) -> [PatternNode] {
    guard case .alternatives(let nodes) = node else { return [node] }
    return nodes.flatMap { topAlternatives($0) }
  }

  /// Gives every class a bit.
  private mutating func collect(_ node: PatternNode) throws(PatternProblem) {
    switch node {
    case .set(let set):
      if classes[set] == nil { classes[set] = classes.count }
      guard classes.count <= ClassTable.classLimit else {
        throw PatternProblem(
          problem: "the pattern has more than \(ClassTable.classLimit) character classes")
      }
    case .sequence(let nodes), .alternatives(let nodes):
      for node in nodes { try collect(node) }
    case .repeated(let node, _, _, _), .look(let node, _): try collect(node)
    case .anchor: break
    }
  }

  private func bit(_ set: ScalarSet) -> UInt64 {
    guard let index = classes[set] else { preconditionFailure("class without a bit") }
    return 1 << UInt64(index)
  }

  /// The classes that a match can begin with, and whether it can be empty. Look-aheads are left to
  /// the match itself.
  private func first(_ node: PatternNode) -> (bits: UInt64, empty: Bool) {
    switch node {
    case .set(let set): return (bit(set), false)
    case .look, .anchor: return (0, true)
    case .repeated(let node, let least, _, _):
      let inner = first(node)
      return (inner.bits, inner.empty || least == 0)
    case .alternatives(let nodes):
      return nodes.map { first($0) }.reduce((0, false)) { ($0.0 | $1.bits, $0.1 || $1.empty) }
    case .sequence(let nodes):
      var bits: UInt64 = 0
      for node in nodes {
        let next = first(node)
        bits |= next.bits
        if !next.empty { return (bits, false) }
      }
      return (bits, true)
    }
  }

  private mutating func append(_ instruction: Pattern.Instruction) throws(PatternProblem) {
    guard instructions.count < PatternCompiler.instructionLimit else {
      throw PatternProblem(problem: "the pattern is too large")
    }
    instructions.append(instruction)
  }

  private mutating func emit(_ node: PatternNode) throws(PatternProblem) {
    switch node {
    case .set(let set): try append(.init(operation: .one, bit: bit(set)))
    case .sequence(let nodes): for node in nodes { try emit(node) }
    case .alternatives(let nodes): try emit(alternatives: nodes)
    case .anchor(let anchor): try append(.init(operation: .anchor, anchor: anchor))
    case .look(let node, let negative):
      let look = instructions.count
      try append(.init(operation: .look, flag: negative))
      try emit(node)
      try append(.init(operation: .accept))
      instructions[look].target = instructions.count
    case .repeated(.set(let set), let least, let most, let possessive):
      try append(
        .init(
          operation: .run, bit: bit(set), least: least, most: most ?? .max, flag: possessive))
    case .repeated(let node, let least, let most, let possessive):
      if possessive { throw PatternProblem(problem: "the pattern has a possessive group") }
      try emit(group: node, least: least, most: most)
    }
  }

  private mutating func emit(alternatives nodes: [PatternNode]) throws(PatternProblem) {
    var jumps: [Int] = []
    for (index, node) in nodes.enumerated() {
      guard index + 1 < nodes.count else {
        try emit(node)
        break
      }
      let split = instructions.count
      try append(.init(operation: .split, target: split + 1))
      try emit(node)
      jumps.append(instructions.count)
      try append(.init(operation: .jump))
      instructions[split].other = instructions.count
    }
    for jump in jumps { instructions[jump].target = instructions.count }
  }

  private mutating func emit(
    group node: PatternNode, least: Int, most: Int?
  ) throws(PatternProblem) {
    for _ in 0..<least {
      let before = instructions.count
      try emit(node)
      // Nothing, however often: nested repetitions of it would never end.
      if instructions.count == before { break }
    }
    guard let most else {
      // An empty round would go on for ever.
      guard !node.matchesEmpty else {
        throw PatternProblem(problem: "the pattern repeats a group that can match nothing")
      }
      let split = instructions.count
      try append(.init(operation: .split, target: split + 1))
      try emit(node)
      try append(.init(operation: .jump, target: split))
      instructions[split].other = instructions.count
      return
    }
    var splits: [Int] = []
    for _ in least..<max(most, least) {
      splits.append(instructions.count)
      try append(.init(operation: .split, target: instructions.count + 1))
      try emit(node)
    }
    for split in splits { instructions[split].other = instructions.count }
  }

  /// Marks the runs that need not give anything back: nothing follows, or what follows cannot
  /// begin with a character of the run.
  private mutating func makePossessive(_ table: ClassTable) {
    for index in instructions.indices where instructions[index].operation == .run {
      let next = instructions[index + 1]
      let own = instructions[index].bit
      let shared = table.overlaps[own.trailingZeroBitCount]
      switch next.operation {
      case .accept: instructions[index].flag = true
      case .one: if shared & next.bit == 0 { instructions[index].flag = true }
      case .run: if next.least > 0, shared & next.bit == 0 { instructions[index].flag = true }
      case .anchor: if next.anchor == .textEnd { instructions[index].flag = true }
      case .split, .jump, .look: break
      }
    }
  }
}
