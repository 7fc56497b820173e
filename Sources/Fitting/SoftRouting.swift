// SPDX-License-Identifier: Apache-2.0
//
// A differentiable stand-in for a family's routing over slots, for one token with logits l [E].
//
//   e_j = exp(l_j - max l), or the score pi_j where it is not a softmax    weight before the sum
//   q_j = e_j / sum_i e_i                          weights, as if every slot were chosen
//   c_j = l_j, or pi_j + b_j where selection compares scores               what selection compares
//   m_j = 1 / (1 + exp(-(c_j - t) / h))            soft membership, t between the K-th and next c
//   loss = -sum_j p_j log q_j + sum_j price_j m_j  p: target weights over slots
//
// For a softmax the first part is convex in a linear gate, and holds the weights of chosen slots
// right and all others down. The prices are multipliers of the balance constraints. t and the kept
// nodes count as constants; slots of nodes that are not kept have m = 0.

import Foundation
import Routing
import Tensors

/// The gradient of soft routing with respect to the logits, one token at a time.
struct SoftRouting {
  private let selection: Selection
  private let prices: [Float]
  private let temperature: Float
  private let comparesScores: Bool
  private var workspace: Selection.Workspace
  private var terms: [Terms]

  /// One slot's values and their derivatives with respect to its logit.
  private struct Terms {
    var weight: Float = 0
    var logWeightSlope: Float = 0
    var compared: Float = 0
    var comparedSlope: Float = 0
    var member: Float = 0
    var usable = true
  }

  /// `selection` is over slots, with the stock selection bias; `temperature` is h.
  init(
    selection: Selection, prices: [Float], temperature: Float, comparesScores: Bool
  ) {
    self.selection = selection
    self.prices = prices
    self.temperature = temperature
    self.comparesScores = comparesScores
    workspace = selection.makeWorkspace()
    terms = [Terms](repeating: Terms(), count: prices.count)
  }

  /// Appends d loss / d l [E] to `gradient`, and counts the slots that a hard choice takes.
  ///
  /// `targets` [E] are p.
  mutating func descend(
    logits: Span<Float>, targets: [Float], load: inout [Int], gradient: inout [Float]
  ) {
    evaluate(logits)
    choose(&load)
    var total: Float = 0
    for term in terms { total += term.weight }
    for slot in terms.indices {
      let term = terms[slot]
      let away = term.usable ? (1 - term.member) / temperature * term.comparedSlope : 0
      gradient.append(
        (term.weight / total - targets[slot]) * term.logWeightSlope
          + prices[slot] * term.member * away)
    }
  }

  private mutating func evaluate(_ logits: Span<Float>) {
    var largest = -Float.infinity
    for slot in 0..<logits.count { largest = max(largest, logits[slot]) }
    var sum: Float = 0
    for slot in 0..<logits.count {
      let logit = logits[slot]
      switch selection.rule.scoring {
      case .softmax, .softmaxOfSelected, .sparseMixer:
        let value = expf(logit - largest)
        sum += value
        terms[slot] = Terms(
          weight: value, logWeightSlope: 1, compared: logit, comparedSlope: 1)
      case .sigmoid:
        let value = 1 / (1 + expf(-logit))
        let slope = value * (1 - value)
        terms[slot] = Terms(
          weight: value, logWeightSlope: 1 - value, compared: value, comparedSlope: slope)
      case .sqrtSoftplus:
        let value = (logit > 20 ? logit : log1pf(expf(logit))).squareRoot()
        let slope = 1 / (1 + expf(-logit)) / (2 * max(value, 1e-6))
        terms[slot] = Terms(
          weight: value, logWeightSlope: slope / max(value, 1e-6), compared: value,
          comparedSlope: slope)
      }
    }
    guard comparesScores, selection.rule.scoring == .softmax else { return }
    for slot in terms.indices {
      let score = terms[slot].weight / sum
      terms[slot].compared = score
      terms[slot].comparedSlope = score * (1 - score)
    }
  }

  /// The hard choice, and from it memberships around its border.
  private mutating func choose(_ load: inout [Int]) {
    selection.choose(terms.map(\.compared).span, &workspace)
    for slot in workspace.chosen { load[slot] += 1 }
    let nodeSize = terms.count / workspace.kept.count
    var lowestIn = Float.infinity
    var highestOut = -Float.infinity
    for slot in terms.indices {
      terms[slot].compared += selection.bias[slot]
      terms[slot].usable = workspace.kept[slot / nodeSize]
    }
    for slot in workspace.chosen { lowestIn = min(lowestIn, terms[slot].compared) }
    for slot in terms.indices where terms[slot].usable && !workspace.chosen.contains(slot) {
      highestOut = max(highestOut, terms[slot].compared)
    }
    let threshold = highestOut.isFinite ? (lowestIn + highestOut) / 2 : lowestIn
    for slot in terms.indices {
      terms[slot].member = 1 / (1 + expf(-(terms[slot].compared - threshold) / temperature))
    }
  }
}
