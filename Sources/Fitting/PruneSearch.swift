// SPDX-License-Identifier: Apache-2.0
//
// Which experts a layer can do without. The router of those that stay is what the checkpoint will
// have: their rows and biases as they are, under the family's rule. What counts is the error of the
// layer's output on sampled tokens under it (OutputDeviation.swift).
//
// 1. One after the other goes the expert whose loss costs least beside those that went before, of
//    the few that matter least by weight x saliency.
// 2. Then one that went comes back for one that stayed, as long as that lowers the error.
//
// Expert groups lose as many experts each.

import Routing
import Tensors

/// The choice of experts to prune.
package struct PruneSearch: Sendable {
  private let router: FamilyRouter
  /// l [S,E] of the sketch's tokens.
  private let logits: Matrix
  private let deviation: OutputDeviation
  /// Sum over tokens of weight x mean output norm [E].
  private let values: [Double]
  private let threads: Int

  /// Experts whose loss is measured, for each that goes, and as partners of each exchange.
  private static let candidates = 8
  /// Exchanges that are measured at most, per expert that goes.
  private static let exchanges = 16
  /// An exchange must lower the error by this share.
  private static let smallestGain = 0.003
  /// The logit of an expert that is not there: no part of any softmax.
  private static let none: Float = -1e30

  /// `sketch` are the experts' outputs on some tokens of `set`.
  package init(_ set: CalibrationSet, sketch: OutputSketch, threads: Int) {
    router = set.router
    self.threads = threads
    let sample = set.gathering(sketch.tokens)
    logits = sample.logits
    deviation = OutputDeviation(
      rule: router.rule, scores: router.rule.scores(logits, threads: threads),
      original: sample.assignment, sketch: sketch, threads: threads)
    values = zip(set.routingWeights, sketch.norms).map { $0 * $1 }
  }

  /// The experts that stay when `count` go, ascending.
  package func kept(pruning count: Int) -> [Int] {
    let groups = router.rule.groupRanges
    var stays = [Bool](repeating: true, count: router.experts)
    for _ in 0..<count / groups.count {
      for group in groups { removeCheapest(of: group, from: &stays) }
    }
    exchange(&stays, budget: Self.exchanges * count)
    return stays.indices.filter { stays[$0] }
  }

  /// The error of the layer's output on the sampled tokens when only the experts that `stays` [E]
  /// says are left.
  package func error(_ stays: [Bool]) -> Double {
    var left = logits
    for expert in stays.indices where !stays[expert] {
      for token in 0..<left.rows { left[token, expert] = Self.none }
    }
    let selection = Selection(rule: router.rule, bias: router.selectionBias, selectable: stays)
    return deviation.error(
      of: selection.assign(
        router.rule.scores(left, threads: threads), threads: threads
      ) { _, expert in expert })
  }

  private func removeCheapest(of group: Range<Int>, from stays: inout [Bool]) {
    let candidates = group.filter { stays[$0] }.sorted { (values[$0], $0) < (values[$1], $1) }
    let cheapest = candidates.prefix(Self.candidates).map { expert in
      var without = stays
      without[expert] = false
      return (error(without), expert)
    }.min { $0 < $1 }
    if let cheapest { stays[cheapest.1] = false }
  }

  /// Takes every exchange that helps: first those of the most valuable expert that went.
  private func exchange(_ stays: inout [Bool], budget: Int) {
    var budget = budget
    var best = error(stays)
    var found = true
    while found, budget > 0 {
      found = false
      for (out, into) in exchanges(stays) where budget > 0 {
        budget -= 1
        var next = stays
        next[out] = true
        next[into] = false
        let error = error(next)
        guard error < best * (1 - Self.smallestGain) else { continue }
        (stays, best, found) = (next, error, true)
        break
      }
    }
  }

  /// Pairs of one that went and one of its group that stayed.
  private func exchanges(_ stays: [Bool]) -> [(out: Int, into: Int)] {
    let gone = stays.indices.filter { !stays[$0] }.sorted { (-values[$0], $0) < (-values[$1], $1) }
    return gone.flatMap { out -> [(out: Int, into: Int)] in
      let group = router.rule.groupRanges.first { $0.contains(out) } ?? 0..<0
      return group.filter { stays[$0] }.sorted { (values[$0], $0) < (values[$1], $1) }
        .prefix(Self.candidates).map { (out, $0) }
    }
  }
}
