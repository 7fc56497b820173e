// SPDX-License-Identifier: Apache-2.0
//
// A differentiable stand-in for a family's routing over slots, for one token with logits l [E].
//
//   e_j = exp(l_j - max l), or the score pi_j where it is not a softmax    weight before the sum
//   c_j = l_j, or pi_j + b_j where selection compares scores               what selection compares
//   t   = the mean of the K-th and the next c
//   m_j = 1 / (1 + exp(-(c_j - t) / h))                                    soft membership
//   w_j = e_j m_j / sum_i e_i m_i      (no sum where the family does not renormalise)
//   u_f = sum of w_j over the slots j that hold function f
//
//   loss = sum_f a_f (u_f - v_f)² + sum_j price_j m_j + pull * -sum_j p_j log(e_j / sum_i e_i)
//
// v: the original's weights. With a_f the mean square of f's outputs, the first part is the squared
// error of the layer's output, for outputs that are orthogonal to each other. Two chosen clones of
// one function are right in it as far as their weights add up, and wrong by the function that they
// keep out. The second part are the multipliers of the balance constraints; the third draws clones
// to cells p of tokens of their own. Raising one slot raises t, which lowers the others: without t's
// gradient slots are not seen to compete. Slots of groups that are not kept have m = 0.

import Foundation
package import Routing

/// The gradient of soft routing with respect to the logits, one token at a time.
package struct SoftRouting {
  /// What does not change from token to token.
  package struct Setting {
    /// Over slots, with the stock selection bias.
    let selection: Selection
    let physicalToLogical: [Int]
    /// a [F].
    let importance: [Float]
    /// The multiplier of each slot's load, [E].
    let prices: [Float]
    /// h.
    let temperature: Float
    let comparesScores: Bool
    let pull: Float

    package init(
      selection: Selection, physicalToLogical: [Int], importance: [Float], prices: [Float],
      temperature: Float, comparesScores: Bool, pull: Float
    ) {
      self.selection = selection
      self.physicalToLogical = physicalToLogical
      self.importance = importance
      self.prices = prices
      self.temperature = temperature
      self.comparesScores = comparesScores
      self.pull = pull
    }
  }

  /// Few entries of a vector over functions or slots.
  package struct Sparse {
    let places: ArraySlice<Int32>
    let values: ArraySlice<Float>

    package init(places: ArraySlice<Int32>, values: ArraySlice<Float>) {
      self.places = places
      self.values = values
    }
  }

  private let setting: Setting
  private var value: [Float]
  /// d log e / d l
  private var logSlope: [Float]
  private var compared: [Float]
  private var comparedSlope: [Float]
  private var member: [Float]
  private var chosen: [Bool]
  private var functionSlope: [Float]
  /// Slots that t depends on.
  private var border: (lowestIn: Int, highestOut: Int?) = (0, nil)

  package init(_ setting: Setting) {
    self.setting = setting
    let zeros = [Float](repeating: 0, count: setting.prices.count)
    (value, logSlope, compared, comparedSlope) = (zeros, zeros, zeros, zeros)
    (member, functionSlope) = (zeros, zeros)
    chosen = [Bool](repeating: false, count: zeros.count)
  }

  /// Appends d loss / d l [E] to `gradient`, and counts the slots that a hard choice takes.
  ///
  /// `wanted` is v, `cells` p.
  package mutating func descend(
    logits: Span<Float>, wanted: Sparse, cells: Sparse, workspace: inout Selection.Workspace,
    load: inout [Int], gradient: inout [Float]
  ) {
    evaluate(logits)
    choose(&workspace, &load)
    let rule = setting.selection.rule
    let renormalises = rule.normalise || rule.scoring == .softmaxOfSelected
    var total: Float = 0
    var kept: Float = 0
    for slot in value.indices {
      total += value[slot]
      kept += value[slot] * member[slot]
    }
    let sum = max(renormalises ? kept : rule.scoring == .softmax ? total : 1, 1e-20)
    let mean = findTokenBias(wanted, sum: sum)
    let start = gradient.count
    var pushed: Float = 0
    for slot in value.indices {
      let slope = functionSlope[setting.physicalToLogical[slot]] - (renormalises ? mean : 0)
      // The softmax of families that do not renormalise runs over all slots.
      let shared = !renormalises && rule.scoring == .softmax ? mean : 0
      let away =
        member[slot] * (1 - member[slot]) / setting.temperature
        * (slope * value[slot] / sum + setting.prices[slot])
      pushed += away
      gradient.append(
        (slope * member[slot] - shared) / sum * value[slot] * logSlope[slot]
          + away * comparedSlope[slot] + setting.pull * value[slot] / total * logSlope[slot])
    }
    gradient[start + border.lowestIn] -=
      pushed * (border.highestOut == nil ? 1 : 0.5) * comparedSlope[border.lowestIn]
    if let slot = border.highestOut { gradient[start + slot] -= pushed * 0.5 * comparedSlope[slot] }
    for (slot, share) in zip(cells.places, cells.values) {
      gradient[start + Int(slot)] -= setting.pull * share * logSlope[Int(slot)]
    }
  }

  /// d loss / d u, and its mean under w.
  private mutating func findTokenBias(_ wanted: Sparse, sum: Float) -> Float {
    for function in functionSlope.indices { functionSlope[function] = 0 }
    for slot in value.indices {
      functionSlope[setting.physicalToLogical[slot]] += value[slot] * member[slot] / sum
    }
    for (function, weight) in zip(wanted.places, wanted.values) {
      functionSlope[Int(function)] -= weight
    }
    for function in functionSlope.indices {
      functionSlope[function] *= 2 * setting.importance[function]
    }
    var mean: Float = 0
    for slot in value.indices {
      mean += functionSlope[setting.physicalToLogical[slot]] * value[slot] * member[slot] / sum
    }
    return mean
  }

  private mutating func evaluate(_ logits: Span<Float>) {
    var largest = -Float.infinity
    for slot in 0..<logits.count { largest = max(largest, logits[slot]) }
    var sum: Float = 0
    for slot in 0..<logits.count {
      let logit = logits[slot]
      switch setting.selection.rule.scoring {
      case .softmax, .softmaxOfSelected, .sparseMixer:
        value[slot] = expf(logit - largest)
        sum += value[slot]
        (logSlope[slot], compared[slot], comparedSlope[slot]) = (1, logit, 1)
      case .sigmoid:
        let score = 1 / (1 + expf(-logit))
        (value[slot], logSlope[slot]) = (score, 1 - score)
        (compared[slot], comparedSlope[slot]) = (score, score * (1 - score))
      case .sqrtSoftplus:
        let score = (logit > 20 ? logit : log1pf(expf(logit))).squareRoot()
        let slope = 1 / (1 + expf(-logit)) / (2 * max(score, 1e-6))
        (value[slot], logSlope[slot]) = (score, slope / max(score, 1e-6))
        (compared[slot], comparedSlope[slot]) = (score, slope)
      }
    }
    guard setting.comparesScores, setting.selection.rule.scoring == .softmax else { return }
    for slot in value.indices {
      let score = value[slot] / sum
      (compared[slot], comparedSlope[slot]) = (score, score * (1 - score))
    }
  }

  /// The hard choice, and from it memberships around its border.
  private mutating func choose(_ workspace: inout Selection.Workspace, _ load: inout [Int]) {
    let selection = setting.selection
    selection.choose(compared.span, &workspace)
    for slot in chosen.indices {
      chosen[slot] = false
      compared[slot] += selection.bias[slot]
    }
    border = (workspace.chosen[0], nil)
    for slot in workspace.chosen {
      load[slot] += 1
      chosen[slot] = true
      if compared[slot] < compared[border.lowestIn] { border.lowestIn = slot }
    }
    let groupSize = chosen.count / workspace.kept.count
    for (group, kept) in workspace.kept.enumerated() where kept {
      for slot in group * groupSize..<(group + 1) * groupSize where !chosen[slot] {
        if let next = border.highestOut, compared[slot] <= compared[next] { continue }
        border.highestOut = slot
      }
    }
    let lowest = compared[border.lowestIn]
    let threshold = border.highestOut.map { (lowest + compared[$0]) / 2 } ?? lowest
    for (group, kept) in workspace.kept.enumerated() {
      for slot in group * groupSize..<(group + 1) * groupSize {
        member[slot] =
          kept ? 1 / (1 + expf(-(compared[slot] - threshold) / setting.temperature)) : 0
      }
    }
  }
}
