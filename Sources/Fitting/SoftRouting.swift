// SPDX-License-Identifier: Apache-2.0
//
// A differentiable stand-in for a family's routing over physical experts, for one token with logits
// l [E].
//
//   e_j = exp(l_j - max l), or the score pi_j where it is not a softmax
//   g_j = e_j, or 1 in the sparse mixer, which masks rivals                weight before the sum
//   c_j = l_j, or pi_j + b_j where selection compares scores               what selection compares
//   m_j = 1 / (1 + exp(-(c_j - t) / h)), t such that sum_j m_j = K         soft membership
//   w_j = g_j m_j / sum_i g_i m_i      (no sum where the family does not renormalise)
//   u_f = sum of w_j, M_f = sum of m_j over the physical experts j of logical expert f
//   s_f = M_f - floor M_f
//
//   loss = sum_f a_f ((u_f - v_f)² + k s_f (1 - s_f) (u_f / M_f)²)
//        + sum_j price_j m_j + pull * -sum_j p_j log(e_j / sum_i e_i)
//
// v: the original's weights, [F]. With a_f the mean square of f's outputs, the first part is the
// squared error of the layer's output, for outputs that are orthogonal to each other. Two chosen
// clones of one logical expert are right in it as far as their weights add up, and wrong by the one
// that they keep out. In truth an expert is chosen or not: where m is the chance of that, k = 1
// makes the first part the mean of the error, and more than that is a reason to decide. With k = 0
// two experts that nobody wants err the least half chosen each, with rows that differ by rounding.
// The next part are the multipliers of the balance constraints; the last draws clones to cells p of
// tokens of their own. Raising one expert raises t, which lowers the others: without t's gradient
// experts are not seen to compete. Experts of groups that are not kept have m = 0.
//
// With t in the middle between the K-th and the next c, any number of experts can stand at the
// border and be half chosen each: constraints are met by experts that become the same.

import Foundation
package import Routing
import Tensors

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
    /// k.
    let doubtPrice: Float
    let pull: Float

    package init(
      selection: Selection, physicalToLogical: [Int], importance: [Float], prices: [Float],
      temperature: Float, comparesScores: Bool, doubtPrice: Float, pull: Float
    ) {
      self.selection = selection
      self.physicalToLogical = physicalToLogical
      self.importance = importance
      self.prices = prices
      self.temperature = temperature
      self.comparesScores = comparesScores
      self.doubtPrice = doubtPrice
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
  private let renormalises: Bool
  /// Whether the loss depends on every e, not only on those of experts that may be chosen.
  private let needsAll: Bool
  /// e
  private var value: [Float]
  /// d log e / d l
  private var logSlope: [Float]
  private var compared: [Float]
  private var comparedSlope: [Float]
  private var member: [Float]
  /// Experts whose m is neither 0 nor 1.
  private var near: [Int] = []
  /// Experts with an m or an e that counts.
  private var active: [Int] = []
  /// u, then d loss / d u [F]
  private var logicalSlope: [Float]
  /// M, then d loss / d M [F]
  private var presenceSlope: [Float]

  /// c and m of those that are near, and -infinity up to a multiple of 16.
  private var nearCompared: [Float]
  private var nearMember: [Float]
  /// Logical experts whose slopes are not 0.
  private var touched: [Int] = []

  /// So many h from the border, m is 0 or 1 but for 1e-7.
  private static let reach: Float = 16

  package init(_ setting: Setting) {
    self.setting = setting
    let rule = setting.selection.rule
    weighsAlike = rule.scoring == .sparseMixer
    renormalises = rule.normalise || rule.scoring == .softmaxOfSelected
    needsAll =
      setting.pull > 0 || !renormalises || rule.scoring == .softmax && setting.comparesScores
    let experts = setting.prices.count
    // Each has storage of its own from the start: after a `mutableSpan` of one member, Swift 6.3.1
    // leaves out the copy that a write to another, shared one needs.
    func filled(_ value: Float, _ count: Int) -> [Float] { [Float](repeating: value, count: count) }
    (value, compared) = (filled(0, experts), filled(0, experts))
    // The slopes of a softmax's logits, which are compared as they are.
    (logSlope, comparedSlope) = (filled(1, experts), filled(1, experts))
    member = filled(0, experts)
    (logicalSlope, presenceSlope) = (filled(0, experts), filled(0, experts))
    nearCompared = filled(-.infinity, experts + 15)
    nearMember = filled(0, experts + 15)
    active = needsAll ? Array(0..<experts) : []
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
    var total: Float = 0
    var kept: Float = 0
    for expert in active {
      total += value[expert]
      kept += weight(expert) * member[expert]
    }
    let isShared = !renormalises && setting.selection.rule.scoring == .softmax
    let sum = max(renormalises ? kept : isShared ? total : 1, 1e-20)
    let mean = findLogicalSlopes(wanted, sum: sum)
    let start = gradient.count
    gradient.append(contentsOf: repeatElement(0, count: logits.count))
    var slopes = gradient.mutableSpan
    for expert in active {
      let slope = logicalSlope[setting.physicalToLogical[expert]] - (renormalises ? mean : 0)
      if !weighsAlike {
        // The softmax of families that do not renormalise runs over all experts.
        slopes[start + expert] +=
          (slope * member[expert] - (isShared ? mean : 0)) / sum * value[expert] * logSlope[expert]
      }
      slopes[start + expert] += setting.pull * value[expert] / total * logSlope[expert]
    }
    for (expert, share) in zip(cells.places, cells.values) {
      slopes[start + Int(expert)] -= setting.pull * share * logSlope[Int(expert)]
    }
    moveBorder(mean: renormalises ? mean : 0, sum: sum, start: start, &slopes)
  }

  /// Adds the gradient through c: that of each m, and t's.
  private func moveBorder(
    mean: Float, sum: Float, start: Int, _ slopes: inout MutableSpan<Float>
  ) {
    var (flow, pushed) = (Float.zero, Float.zero)
    func push(_ expert: Int) -> Float {
      let logical = setting.physicalToLogical[expert]
      return (logicalSlope[logical] - mean) * weight(expert) / sum + presenceSlope[logical]
        + setting.prices[expert]
    }
    for expert in near {
      let width = member[expert] * (1 - member[expert])
      flow += width
      pushed += width * push(expert)
    }
    guard flow > 0 else { return }
    let shared = pushed / flow
    for expert in near {
      slopes[start + expert] +=
        member[expert] * (1 - member[expert]) / setting.temperature * (push(expert) - shared)
        * comparedSlope[expert]
    }
  }

  /// d loss / d u and d loss / d M, and the mean of the first under w.
  private mutating func findLogicalSlopes(_ wanted: Sparse, sum: Float) -> Float {
    for logical in touched { (logicalSlope[logical], presenceSlope[logical]) = (0, 0) }
    touched.removeAll(keepingCapacity: true)
    for expert in active where member[expert] > 0 {
      let logical = setting.physicalToLogical[expert]
      if presenceSlope[logical] == 0 { touched.append(logical) }
      logicalSlope[logical] += weight(expert) * member[expert] / sum
      presenceSlope[logical] += member[expert]
    }
    for logical in touched {
      let presence = max(presenceSlope[logical], 1e-12)
      let share = presence - presence.rounded(.down)
      let mean = logicalSlope[logical] / presence
      let doubt = 2 * setting.doubtPrice * share * (1 - share) / presence
      let importance = setting.importance[logical]
      logicalSlope[logical] = importance * (2 * logicalSlope[logical] + doubt * mean)
      presenceSlope[logical] =
        importance * mean * mean * (setting.doubtPrice * (1 - 2 * share) - doubt)
    }
    for (logical, weight) in zip(wanted.places, wanted.values) {
      logicalSlope[Int(logical)] -= 2 * setting.importance[Int(logical)] * weight
      touched.append(Int(logical))
    }
    var mean: Float = 0
    for expert in active {
      mean +=
        logicalSlope[setting.physicalToLogical[expert]] * weight(expert)
        * member[expert] / sum
    }
    return mean
  }

  /// g of one expert.
  private func weight(_ expert: Int) -> Float { weighsAlike ? 1 : value[expert] }

  /// Finds e, c and the slopes.
  private mutating func evaluate(_ logits: Span<Float>) {
    let rule = setting.selection.rule
    if rule.scoring == .sigmoid || rule.scoring == .sqrtSoftplus {
      for expert in value.indices { value[expert] = 1 }
      var values = value.mutableSpan
      values.multiply(bySigmoidOf: logits)
      for expert in value.indices {
        var (score, slope) = (value[expert], value[expert] * (1 - value[expert]))
        if rule.scoring == .sqrtSoftplus {
          let logit = logits[expert]
          slope = score
          score = (logit > 20 ? logit : log1pf(expf(logit))).squareRoot()
          slope /= 2 * max(score, 1e-6)
        }
        (value[expert], logSlope[expert]) = (score, slope / max(score, 1e-6))
        (compared[expert], comparedSlope[expert]) = (score, slope)
      }
      return
    }
    var largest = -Float.infinity
    for expert in 0..<logits.count { largest = max(largest, logits[expert]) }
    for expert in value.indices { value[expert] = logits[expert] - largest }
    var values = value.mutableSpan
    values.exponentiate()
    if setting.comparesScores, rule.scoring == .softmax {
      let sum = value.reduce(0, +)
      for expert in value.indices {
        let score = value[expert] / sum
        (compared[expert], comparedSlope[expert]) = (score, score * (1 - score))
      }
    } else {
      for expert in value.indices { compared[expert] = logits[expert] }
    }
  }

  /// The hard choice, and from it memberships around its border.
  private mutating func choose(_ workspace: inout Selection.Workspace, _ load: inout [Int]) {
    setting.selection.choose(compared.span, &workspace)
    for expert in compared.indices { compared[expert] += setting.selection.bias[expert] }
    let compared = compared
    // Taken out of self, the buffers are written without a copy or a check for one.
    var (member, near): ([Float], [Int]) = ([], [])
    swap(&member, &self.member)
    swap(&near, &self.near)
    for expert in member.indices { member[expert] = 0 }
    near.removeAll(keepingCapacity: true)
    var lowest = Float.infinity
    for expert in workspace.chosen {
      load[expert] += 1
      member[expert] = 1
      lowest = min(lowest, compared[expert])
    }
    var next = -Float.infinity
    forEachKept(workspace) { if member[$0] == 0 { next = max(next, compared[$0]) } }
    if next > -.infinity {
      let middle = (lowest + next) / 2
      let reach = Self.reach * setting.temperature + (lowest - next) / 2
      forEachKept(workspace) { if abs(compared[$0] - middle) <= reach { near.append($0) } }
      setMembers(of: near, around: middle, &member)
    }
    if !needsAll {
      active.removeAll(keepingCapacity: true)
      active += near
      for expert in workspace.chosen where !near.contains(expert) { active.append(expert) }
    }
    (self.member, self.near) = (member, near)
  }

  /// Experts of groups that the token may use.
  private func forEachKept(_ workspace: Selection.Workspace, _ body: (_ expert: Int) -> Void) {
    let groupSize = compared.count / workspace.kept.count
    for (group, kept) in workspace.kept.enumerated() where kept {
      for expert in group * groupSize..<(group + 1) * groupSize { body(expert) }
    }
  }

  /// Memberships of experts `near` the border; t is sought from `threshold`.
  private mutating func setMembers(
    of near: [Int], around threshold: Float, _ member: inout [Float]
  ) {
    var places: Float = 0
    let padded = (near.count + 15) / 16 * 16
    for place in near.count..<padded { nearCompared[place] = -.infinity }
    for (place, expert) in near.enumerated() {
      nearCompared[place] = compared[expert]
      places += member[expert]
    }
    let (compared, width) = (nearCompared, setting.temperature)
    var members = nearMember.mutableSpan
    members.set(
      softMembersOf: compared.span.extracting(..<padded), sum: places, width: width,
      from: threshold)
    for (place, expert) in near.enumerated() { member[expert] = nearMember[place] }
  }
}
