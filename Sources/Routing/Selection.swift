// SPDX-License-Identifier: Apache-2.0
//
// Which K logical experts a token takes: the K largest of (pi + b) over the selectable experts,
// under the family's group-limited rule where it has one.
//
// 1. Exact: the comparison is made on Float32 values; equal values go to the lowest index, for
//    experts and for groups alike (runtimes leave ties unspecified).
// 2. Total: NaN scores lose against every number; a token always gets K distinct experts.
// 3. Fast: one pass over the F scores with K running best ones, no allocation per token.

package import Tensors

/// Chooses K of F logical experts by biased scores.
package struct Selection: Sendable {
  package let rule: RoutingRule
  /// b [F], with -infinity for experts that cannot be chosen.
  package let bias: [Float]
  private let selectable: [Bool]
  private let groupSize: Int

  /// `rule.experts` experts; `bias` is added to their scores for the comparison only.
  ///
  /// Whichever groups are kept, they must hold at least K selectable experts.
  package init(rule: RoutingRule, bias: [Float]? = nil, selectable: [Bool]? = nil) {
    let count = rule.experts
    precondition(rule.topK > 0 && rule.topK <= count)
    precondition((bias?.count ?? count) == count && (selectable?.count ?? count) == count)
    precondition(rule.scoring != .sparseMixer || rule.topK == 2)
    self.rule = rule
    self.selectable = selectable ?? [Bool](repeating: true, count: count)
    self.bias = zip(bias ?? [Float](repeating: 0, count: count), self.selectable)
      .map { $1 ? $0 : -.infinity }
    self.groupSize = rule.groups.map { count / $0.count } ?? count
    if let groups = rule.groups {
      precondition(count % groups.count == 0 && (1...groups.count).contains(groups.kept))
    }
    precondition(Self.alwaysOffers(rule.topK, of: self.selectable, rule: rule))
  }

  /// Whether every choice of groups holds at least `count` selectable experts.
  package static func alwaysOffers(
    _ count: Int, of selectable: [Bool], rule: RoutingRule
  ) -> Bool {
    let groups = rule.groups?.count ?? 1
    let size = selectable.count / groups
    let offers = (0..<groups).map { group in
      selectable[group * size..<(group + 1) * size].count { $0 }
    }
    return offers.sorted().prefix(rule.groups?.kept ?? 1).reduce(0, +) >= count
  }

  /// Buffers for one token at a time, reused by all tokens of a block.
  package struct Workspace {
    /// The chosen experts, best first.
    package fileprivate(set) var chosen: [Int]
    /// The best experts so far, best first.
    fileprivate var best: [RankedExpert]
    fileprivate var groupScores: [Float]
    /// The groups that the token may use.
    package fileprivate(set) var kept: [Bool]
  }

  package func makeWorkspace() -> Workspace {
    let groups = rule.groups?.count ?? 1
    return Workspace(
      chosen: [Int](repeating: -1, count: rule.topK),
      best: [RankedExpert](repeating: .none, count: rule.topK),
      groupScores: [Float](repeating: 0, count: groups),
      kept: [Bool](repeating: true, count: groups))
  }

  /// Puts the choice for one token with unbiased `scores` [F] into `workspace.chosen`.
  package func choose(_ scores: Span<Float>, _ workspace: inout Workspace) {
    if let groups = rule.groups, groups.kept < groups.count {
      keepGroups(scores, groups, &workspace)
    }
    // Taken out of the workspace, the buffer is written without a copy or a check for one.
    var best: [RankedExpert] = []
    swap(&best, &workspace.best)
    rank(scores, kept: workspace.kept.span, into: best.mutableSpan)
    swap(&best, &workspace.best)
    for rank in 0..<rule.topK { workspace.chosen[rank] = workspace.best[rank].expert }
    if workspace.chosen[rule.topK - 1] < 0 { fill(&workspace) }
  }

  /// Finds the `best` experts of groups that are `kept`.
  private func rank(
    _ scores: Span<Float>, kept: Span<Bool>, into best: consuming MutableSpan<RankedExpert>
  ) {
    for rank in best.indices { best[rank] = .none }
    let bias = bias.span
    // The value in the last place, which most experts do not reach.
    var bar = -Float.infinity
    for group in kept.indices {
      let members = group * groupSize..<(group + 1) * groupSize
      if kept[group] {
        for expert in members {
          let value = scores[expert] + bias[expert]
          if value > bar { bar = Self.insert(RankedExpert(value, expert), into: &best) }
        }
      } else if rule.groups?.mask == .zero {
        for expert in members where selectable[expert] && bar < 0 {
          bar = Self.insert(RankedExpert(0, expert), into: &best)
        }
      }
    }
  }

  /// Puts an expert in its place, the last one out, and returns the value in the last place.
  private static func insert(
    _ expert: RankedExpert, into best: inout MutableSpan<RankedExpert>
  ) -> Float {
    var falling = expert.key
    for rank in best.indices {
      let here = best[rank].key
      best[rank].key = max(here, falling)
      falling = min(here, falling)
    }
    return best[best.count - 1].value
  }

  /// Marks the groups with the best scores. A group's two best are distinct selectable experts;
  /// a group with one has that one's score, an empty one comes last.
  private func keepGroups(
    _ scores: Span<Float>, _ groups: RoutingRule.Groups, _ workspace: inout Workspace
  ) {
    for group in 0..<groups.count {
      var first = -Float.infinity
      var second = -Float.infinity
      for expert in group * groupSize..<(group + 1) * groupSize {
        let value = scores[expert] + bias[expert]
        if value > first {
          second = first
          first = value
        } else if value > second {
          second = value
        }
      }
      let pair = groups.score == .topTwoSum && second > -.infinity
      workspace.groupScores[group] = pair ? first + second : first
      workspace.kept[group] = false
    }
    for _ in 0..<groups.kept {
      var best = -1
      for group in 0..<groups.count where !workspace.kept[group] {
        if best < 0 || workspace.groupScores[group] > workspace.groupScores[best] { best = group }
      }
      workspace.kept[best] = true
    }
  }

  /// Only NaN or infinite scores leave places open; the first selectable experts take them.
  private func fill(_ workspace: inout Workspace) {
    var next = 0
    for rank in 0..<rule.topK where workspace.chosen[rank] < 0 {
      while !selectable[next] || workspace.chosen.contains(next) { next += 1 }
      workspace.chosen[rank] = next
    }
  }

  /// Routes all rows of unbiased `scores` [T,F]; `physical` turns a token and a chosen logical
  /// expert into the physical one that serves it. Where `compared` [T,F] is given, experts are
  /// chosen by it, and weighed by `scores`.
  package func assign(
    _ scores: Matrix, compared: Matrix? = nil, threads: Int,
    physical: @Sendable (_ token: Int, _ logical: Int) -> Int
  ) -> Assignment {
    let compared = compared ?? scores
    precondition(scores.columns == rule.experts && compared.columns == rule.experts)
    precondition(scores.rows == compared.rows)
    let topK = rule.topK
    let blocks = mapBlocks(
      count: scores.rows, blockSize: RoutingRule.blockTokens, threads: threads
    ) { _, rows in
      var workspace = makeWorkspace()
      var weights = [Float](repeating: 0, count: topK)
      var block = (experts: [Int32](), weights: [Float]())
      block.experts.reserveCapacity(rows.count * topK)
      block.weights.reserveCapacity(rows.count * topK)
      let values = scores.values.span
      let comparedValues = compared.values.span
      for token in rows {
        let place = token * scores.columns..<(token + 1) * scores.columns
        let row = values.extracting(place)
        choose(comparedValues.extracting(place), &workspace)
        rule.weights(row, chosen: workspace.chosen, into: &weights)
        for rank in 0..<topK {
          block.experts.append(Int32(physical(token, workspace.chosen[rank])))
          block.weights.append(weights[rank])
        }
      }
      return block
    }
    return Assignment(
      tokens: scores.rows, topK: topK, experts: blocks.flatMap(\.experts),
      weights: blocks.flatMap(\.weights))
  }

  /// Tokens per expert, counted: F values that sum to T*K.
  package func load(_ scores: Matrix, threads: Int) -> [Int] {
    let blocks = mapBlocks(
      count: scores.rows, blockSize: RoutingRule.blockTokens, threads: threads
    ) { _, rows in
      var workspace = makeWorkspace()
      var load = [Int](repeating: 0, count: rule.experts)
      let values = scores.values.span
      for token in rows {
        let row = values.extracting(token * scores.columns..<(token + 1) * scores.columns)
        choose(row, &workspace)
        for expert in workspace.chosen { load[expert] += 1 }
      }
      return load
    }
    var total = [Int](repeating: 0, count: rule.experts)
    for block in blocks {
      for expert in total.indices { total[expert] += block[expert] }
    }
    return total
  }
}

/// An expert and its value in one number, larger for a larger value and, where values are equal,
/// for a lower index.
private struct RankedExpert {
  /// The value's bits, in the order of numbers, above those of the index, in reverse order.
  var key: UInt64

  /// Below all others.
  static let none = RankedExpert(key: 0)

  private init(key: UInt64) { self.key = key }

  /// `value` is a number.
  init(_ value: Float, _ expert: Int) {
    // Adding 0 makes -0 equal to 0.
    let bits = (value + 0).bitPattern
    let ordered = bits ^ (bits >> 31 == 0 ? 0x8000_0000 : 0xFFFF_FFFF)
    key = UInt64(ordered) << 32 | UInt64(~UInt32(truncatingIfNeeded: expert))
  }

  /// -1 for `none`.
  var expert: Int { key == 0 ? -1 : Int(~UInt32(truncatingIfNeeded: key)) }

  /// -infinity for `none`.
  var value: Float {
    guard key != 0 else { return -.infinity }
    let ordered = UInt32(truncatingIfNeeded: key >> 32)
    return Float(bitPattern: ordered ^ (ordered >> 31 == 0 ? 0xFFFF_FFFF : 0x8000_0000))
  }
}
