// SPDX-License-Identifier: Apache-2.0
//
// A differentiable stand-in for a family's routing over physical experts, for one token with logits
// l [E].
//
//   e_j = exp(l_j - max l), or the score pi_j where it is not a softmax
//   g_j = e_j, or 1 in the sparse mixer, which masks rivals                weight before the sum
//   c_j = l_j, or pi_j + b_j where selection compares scores               what selection compares
//   t   = the mean of the K-th and the next c
//   m_j = 1 / (1 + exp(-(c_j - t) / h))                                    soft membership
//   w_j = g_j m_j / sum_i g_i m_i      (no sum where the family does not renormalise)
//   u_f = sum of w_j over the physical experts j of logical expert f
//
//   loss = sum_f a_f (u_f - v_f)² + sum_j price_j m_j + pull * -sum_j p_j log(e_j / sum_i e_i)
//
// v: the original's weights, [F]. With a_f the mean square of f's outputs, the first part is the
// squared error of the layer's output, for outputs that are orthogonal to each other. Two chosen
// clones of one logical expert are right in it as far as their weights add up, and wrong by the one
// that they keep out. The second part are the multipliers of the balance constraints; the third
// draws clones to cells p of tokens of their own. Raising one expert raises t, which lowers the
// others: without t's gradient experts are not seen to compete. Experts of groups that are not kept
// have m = 0.

import Foundation
package import Routing

/// The gradient of soft routing with respect to the logits, one token at a time.
package struct SoftRouting {
  /// What does not change from token to token.
  package struct Setting {
    /// Over physical experts, with the stock selection bias.
    let selection: Selection
    /// [E]
    let physicalToLogical: [Int]
    /// a [F].
    let importance: [Float]
    /// The multiplier of each physical expert's load, [E].
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

  /// Few entries of a vector over logical or physical experts.
  package struct Sparse {
    let places: ArraySlice<Int32>
    let values: ArraySlice<Float>

    package init(places: ArraySlice<Int32>, values: ArraySlice<Float>) {
      self.places = places
      self.values = values
    }
  }

  private let setting: Setting
  /// Whether a weight is 1 whatever the logit.
  private let weighsAlike: Bool
  /// e
  private var value: [Float]
  /// d log e / d l
  private var logSlope: [Float]
  private var compared: [Float]
  private var comparedSlope: [Float]
  private var member: [Float]
  private var chosen: [Bool]
  /// d loss / d u [F]
  private var logicalSlope: [Float]
  /// Physical experts that t depends on.
  private var border: (lowestIn: Int, highestOut: Int?) = (0, nil)

  package init(_ setting: Setting) {
    self.setting = setting
    weighsAlike = setting.selection.rule.scoring == .sparseMixer
    let zeros = [Float](repeating: 0, count: setting.prices.count)
    (value, logSlope, compared, comparedSlope) = (zeros, zeros, zeros, zeros)
    (member, logicalSlope) = (zeros, zeros)
    chosen = [Bool](repeating: false, count: zeros.count)
  }

  /// Appends d loss / d l [E] to `gradient`, and counts the physical experts that a hard
  /// choice takes.
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
    for expert in value.indices {
      total += value[expert]
      kept += weight(expert) * member[expert]
    }
    let sum = max(renormalises ? kept : rule.scoring == .softmax ? total : 1, 1e-20)
    let mean = findLogicalSlopes(wanted, sum: sum)
    let start = gradient.count
    var pushed: Float = 0
    for expert in value.indices {
      let slope = logicalSlope[setting.physicalToLogical[expert]] - (renormalises ? mean : 0)
      // The softmax of families that do not renormalise runs over all experts.
      let shared = !renormalises && rule.scoring == .softmax ? mean : 0
      let away =
        member[expert] * (1 - member[expert]) / setting.temperature
        * (slope * weight(expert) / sum + setting.prices[expert])
      pushed += away
      let weighed =
        weighsAlike ? 0 : (slope * member[expert] - shared) / sum * value[expert] * logSlope[expert]
      gradient.append(
        weighed + away * comparedSlope[expert]
          + setting.pull * value[expert] / total * logSlope[expert])
    }
    gradient[start + border.lowestIn] -=
      pushed * (border.highestOut == nil ? 1 : 0.5) * comparedSlope[border.lowestIn]
    if let expert = border.highestOut {
      gradient[start + expert] -= pushed * 0.5 * comparedSlope[expert]
    }
    for (expert, share) in zip(cells.places, cells.values) {
      gradient[start + Int(expert)] -= setting.pull * share * logSlope[Int(expert)]
    }
  }

  /// d loss / d u, and its mean under w.
  private mutating func findLogicalSlopes(_ wanted: Sparse, sum: Float) -> Float {
    for logical in logicalSlope.indices { logicalSlope[logical] = 0 }
    for expert in value.indices {
      logicalSlope[setting.physicalToLogical[expert]] += weight(expert) * member[expert] / sum
    }
    for (logical, weight) in zip(wanted.places, wanted.values) {
      logicalSlope[Int(logical)] -= weight
    }
    for logical in logicalSlope.indices {
      logicalSlope[logical] *= 2 * setting.importance[logical]
    }
    var mean: Float = 0
    for expert in value.indices {
      mean +=
        logicalSlope[setting.physicalToLogical[expert]] * weight(expert) * member[expert] / sum
    }
    return mean
  }

  /// g of one expert.
  private func weight(_ expert: Int) -> Float { weighsAlike ? 1 : value[expert] }

  private mutating func evaluate(_ logits: Span<Float>) {
    var largest = -Float.infinity
    for expert in 0..<logits.count { largest = max(largest, logits[expert]) }
    var sum: Float = 0
    for expert in 0..<logits.count {
      let logit = logits[expert]
      switch setting.selection.rule.scoring {
      case .softmax, .softmaxOfSelected, .sparseMixer:
        value[expert] = expf(logit - largest)
        sum += value[expert]
        (logSlope[expert], compared[expert], comparedSlope[expert]) = (1, logit, 1)
      case .sigmoid:
        let score = 1 / (1 + expf(-logit))
        (value[expert], logSlope[expert]) = (score, 1 - score)
        (compared[expert], comparedSlope[expert]) = (score, score * (1 - score))
      case .sqrtSoftplus:
        let score = (logit > 20 ? logit : log1pf(expf(logit))).squareRoot()
        let slope = 1 / (1 + expf(-logit)) / (2 * max(score, 1e-6))
        (value[expert], logSlope[expert]) = (score, slope / max(score, 1e-6))
        (compared[expert], comparedSlope[expert]) = (score, slope)
      }
    }
    guard setting.comparesScores, setting.selection.rule.scoring == .softmax else { return }
    for expert in value.indices {
      let score = value[expert] / sum
      (compared[expert], comparedSlope[expert]) = (score, score * (1 - score))
    }
  }

  /// The hard choice, and from it memberships around its border.
  private mutating func choose(_ workspace: inout Selection.Workspace, _ load: inout [Int]) {
    let selection = setting.selection
    selection.choose(compared.span, &workspace)
    for expert in chosen.indices {
      chosen[expert] = false
      compared[expert] += selection.bias[expert]
    }
    border = (workspace.chosen[0], nil)
    for expert in workspace.chosen {
      load[expert] += 1
      chosen[expert] = true
      if compared[expert] < compared[border.lowestIn] { border.lowestIn = expert }
    }
    let groupSize = chosen.count / workspace.kept.count
    for (group, kept) in workspace.kept.enumerated() where kept {
      for expert in group * groupSize..<(group + 1) * groupSize where !chosen[expert] {
        if let next = border.highestOut, compared[expert] <= compared[next] { continue }
        border.highestOut = expert
      }
    }
    let lowest = compared[border.lowestIn]
    let threshold = border.highestOut.map { (lowest + compared[$0]) / 2 } ?? lowest
    for (group, kept) in workspace.kept.enumerated() {
      for expert in group * groupSize..<(group + 1) * groupSize {
        member[expert] =
          kept ? 1 / (1 + expf(-(compared[expert] - threshold) / setting.temperature)) : 0
      }
    }
  }
}
