// SPDX-License-Identifier: Apache-2.0

import Fitting
import Foundation
import Routing
import TestSupport
import Testing

struct SoftRoutingTests {
  /// Two groups of four; experts 1 and 2 are clones, 6 and 7 too.
  private static let physicalToLogical = [0, 1, 1, 3, 4, 5, 6, 6]
  private static let importance: [Float] = [1, 2, 1, 0.5, 1, 3, 1, 1]
  private static let prices: [Float] = [0.1, -0.2, 0.3, 0, 0.05, -0.1, 0.2, 0]
  private static let bias: [Float] = [0, 0.05, 0.02, 0, 0.1, 0, 0.03, 0]
  private static let temperature = 0.3
  private static let pull = 0.2
  private static let doubtPrice = 0.7

  /// The loss as the file's header states it, in Double.
  private static func loss(
    _ logits: [Double], rule: RoutingRule, kept: Range<Int>, wanted: [Double], cells: [Double],
    pull: Double
  ) -> Double {
    let isSoftmax = rule.scoring != .sigmoid
    let largest = logits.max() ?? 0
    let values = logits.map { isSoftmax ? exp($0 - largest) : 1 / (1 + exp(-$0)) }
    let total = values.reduce(0, +)
    let compared = isSoftmax ? logits : zip(values, bias).map { $0 + Double($1) }
    func members(_ threshold: Double) -> [Double] {
      compared.indices.map {
        kept.contains($0) ? 1 / (1 + exp(-(compared[$0] - threshold) / temperature)) : 0
      }
    }
    var (low, high) = (-10.0, 10.0)
    for _ in 0..<60 {
      let middle = (low + high) / 2
      if members(middle).reduce(0, +) > Double(rule.topK) { low = middle } else { high = middle }
    }
    let members = members(low)
    let sum =
      rule.normalise
      ? zip(values, members).reduce(0) { $0 + $1.0 * $1.1 }
      : rule.scoring == .softmax ? total : 1
    let weights = rule.scoring == .sparseMixer ? values.map { _ in 1 } : values
    var weight = wanted.map { _ in 0.0 }
    var presence = weight
    for expert in values.indices {
      weight[physicalToLogical[expert]] += weights[expert] * members[expert] / sum
      presence[physicalToLogical[expert]] += members[expert]
    }
    var loss = 0.0
    for place in wanted.indices {
      let error = weight[place] - wanted[place]
      let mean = presence[place] > 0 ? weight[place] / presence[place] : 0
      let share = presence[place] - floor(presence[place])
      loss +=
        Double(importance[place]) * (error * error + doubtPrice * share * (1 - share) * mean * mean)
      loss += Double(prices[place]) * members[place]
      loss -= pull * cells[place] * log(values[place] / total)
    }
    return loss
  }

  private static let softmax = RoutingRule(
    experts: 8, topK: 3, scoring: .softmax, normalise: true)
  private static let plainSoftmax = RoutingRule(
    experts: 8, topK: 3, scoring: .softmax, normalise: false)
  private static let sparseMixer = RoutingRule(
    experts: 8, topK: 2, scoring: .sparseMixer, normalise: false, jitter: 0.01)
  private static let groups = RoutingRule(
    experts: 8, topK: 3, scoring: .sigmoid, normalise: true, normaliseGuard: .add(1e-20),
    groups: .init(count: 2, kept: 1, score: .topTwoSum, mask: .negativeInfinity))

  @Test(arguments: [softmax, plainSoftmax, sparseMixer, groups], [0, Float(pull)])
  func `the gradient is that of the stated loss`(rule: RoutingRule, pull: Float) {
    let logits: [Double] = [0.3, 1.9, 1.1, -0.4, 0.2, -1.5, -0.9, -2.2]
    let wanted: [Double] = [0.2, 0.5, 0, 0, 0.3, 0, 0, 0]
    let cells: [Double] = [0.2, 0.5, 0, 0, 0.3, 0, 0, 0]
    func sparse(_ values: [Double]) -> SoftRouting.Sparse {
      let places = values.indices.filter { values[$0] > 0 }
      return SoftRouting.Sparse(
        places: places.map { Int32($0) }[...], values: places.map { Float(values[$0]) }[...])
    }
    let selection = Selection(rule: rule, bias: rule.scoring == .sigmoid ? Self.bias : nil)
    var routing = SoftRouting(
      .init(
        selection: selection, physicalToLogical: Self.physicalToLogical,
        importance: Self.importance, prices: Self.prices, temperature: Float(Self.temperature),
        comparesScores: rule.scoring == .sigmoid, doubtPrice: Float(Self.doubtPrice),
        pull: pull))
    var workspace = selection.makeWorkspace()
    var load = [Int](repeating: 0, count: 8)
    var gradient: [Float] = []
    let narrow = logits.map { Float($0) }
    routing.descend(
      logits: narrow.span, wanted: sparse(wanted), cells: sparse(cells),
      workspace: &workspace, load: &load, gradient: &gradient)
    // Experts 0 to 3 are the better group.
    #expect(load == [rule.topK == 3 ? 1 : 0, 1, 1, 0, 0, 0, 0, 0])
    let kept = rule.groups == nil ? 0..<8 : 0..<4
    #expect(gradient.count == 8)
    for expert in 0..<8 {
      let step = 1e-5
      let sides = [step, -step].map { change in
        var moved = logits
        moved[expert] += change
        return Self.loss(
          moved, rule: rule, kept: kept, wanted: wanted, cells: cells,
          pull: Double(pull))
      }
      #expect(abs(Double(gradient[expert]) - (sides[0] - sides[1]) / (2 * step)) < 1e-5)
    }
  }
}
