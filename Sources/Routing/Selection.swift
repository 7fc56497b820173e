// SPDX-License-Identifier: Apache-2.0
//
// Which K logical experts a token takes: the K largest of (pi + b) over the selectable experts,
// under the family's group-limited rule where it has one.
//
// 1. Exact: the comparison is made on Float32 values; equal values go to the lowest index, for
//    experts and for groups alike (runtimes leave ties unspecified).
// 2. Total: NaN scores lose against every number; a token always gets K distinct experts.
// 3. Fast: K passes over F sums, many at a time; no allocation per token.

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
    /// What is compared, and -infinity up to a multiple of 8.
    fileprivate var sums: [Float]
    fileprivate var places: [Int32]
    fileprivate var groupScores: [Float]
    /// The groups that the token may use.
    package fileprivate(set) var kept: [Bool]
  }

  package func makeWorkspace() -> Workspace {
    let groups = rule.groups?.count ?? 1
    return Workspace(
      chosen: [Int](repeating: -1, count: rule.topK),
      sums: [Float](repeating: -.infinity, count: (rule.experts + 7) / 8 * 8),
      places: [Int32](repeating: -1, count: rule.topK),
      groupScores: [Float](repeating: 0, count: groups),
      kept: [Bool](repeating: true, count: groups))
  }

  /// Puts the choice for one token with unbiased `scores` [F] into `workspace.chosen`.
  package func choose(_ scores: Span<Float>, _ workspace: inout Workspace) {
    // Taken out of the workspace, the buffer is written without a copy or a check for one.
    var sums: [Float] = []
    swap(&sums, &workspace.sums)
    var values = sums.mutableSpan
    values.set(sumOf: scores, bias.span)
    if let groups = rule.groups, groups.kept < groups.count {
      keepGroups(values.span, groups, &workspace)
      for group in workspace.kept.indices where !workspace.kept[group] {
        for expert in group * groupSize..<(group + 1) * groupSize {
          values[expert] = groups.mask == .zero && selectable[expert] ? 0 : -.infinity
        }
      }
    }
    var places = workspace.places.mutableSpan
    let found = values.span.findLargest(&places)
    swap(&sums, &workspace.sums)
    for rank in 0..<rule.topK {
      workspace.chosen[rank] = rank < found ? Int(workspace.places[rank]) : -1
    }
    if found < rule.topK { fill(&workspace) }
  }

  /// Marks the groups with the best scores. A group's two best are distinct selectable experts;
  /// a group with one has that one's score, an empty one comes last.
  private func keepGroups(
    _ sums: Span<Float>, _ groups: RoutingRule.Groups, _ workspace: inout Workspace
  ) {
    for group in 0..<groups.count {
      var first = -Float.infinity
      var second = -Float.infinity
      for expert in group * groupSize..<(group + 1) * groupSize {
        let value = sums[expert]
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
