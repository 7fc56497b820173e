// SPDX-License-Identifier: Apache-2.0
//
// b of the prototype router: the prices at which top-K selection on pi + b sends each logical
// expert its target number of tokens.
//
// At such prices the choice maximises the sum of chosen pi among all choices with these loads (the
// dual of a transport problem), so no balanced routing keeps more of what the tokens asked for. The
// load of a logical expert rises with its own b and falls with the others'. Each b moves against
// the sign of its expert's error, by a step of its own that grows while the sign stays and halves
// when it turns (Rprop; Riedmiller and Braun 1993). The real selection, group limits included, is
// in the loop. Deterministic; loads are counted, so thread counts do not matter.

package import Routing
package import Tensors

/// The solver for selection biases.
package struct SelectionBiasSolver: Sendable {
  package let rule: RoutingRule
  /// Whether a logical expert may be chosen, [F]: not a pruned one.
  package let selectable: [Bool]
  package let threads: Int

  /// Passes over a sample, then over all tokens.
  private static let sampleTokens = 16384
  private static let samplePasses = 80
  private static let fullPasses = 40
  /// Stops when the misplaced assignments fall below this share.
  private static let tolerance = 0.001

  package init(rule: RoutingRule, selectable: [Bool], threads: Int) {
    self.rule = rule
    self.selectable = selectable
    self.threads = threads
  }

  /// b [F] that gives `targets` [F], shares of T*K that sum to 1, on `scores` [T,F], from `start`.
  ///
  /// `passes` limits the work on a small set.
  package func solve(
    scores: Matrix, targets: [Double], from start: [Float], passes: Int? = nil
  ) -> [Float] {
    let unit = scoreSpread(scores)
    guard scores.rows > Self.sampleTokens else {
      return descend(
        scores, targets, start, firstStep: 0.1 * unit, passes: passes ?? Self.samplePasses)
    }
    let stride = (scores.rows + Self.sampleTokens - 1) / Self.sampleTokens
    let sample = scores.gathering(rows: Array(Swift.stride(from: 0, to: scores.rows, by: stride)))
    let near = descend(sample, targets, start, firstStep: 0.1 * unit, passes: Self.samplePasses)
    return descend(scores, targets, near, firstStep: 0.005 * unit, passes: Self.fullPasses)
  }

  private func descend(
    _ scores: Matrix, _ targets: [Double], _ start: [Float], firstStep: Float, passes: Int
  ) -> [Float] {
    let logicals = selectable.indices.filter { selectable[$0] }
    let total = Double(scores.rows * rule.topK)
    var bias = start
    var best = (error: Double.infinity, bias: start)
    var steps = PriceSteps(count: start.count, first: firstStep)
    for _ in 0..<passes {
      let load = Selection(rule: rule, bias: bias, selectable: selectable)
        .load(scores, threads: threads)
      let errors = zip(load, targets).map { Double($0) / total - $1 }
      let error = logicals.reduce(0) { $0 + abs(errors[$1]) } / 2
      if error < best.error { best = (error, bias) }
      if error < Self.tolerance { break }
      for logical in logicals {
        steps.move(
          &bias[logical], at: logical, error: errors[logical], target: targets[logical])
      }
    }
    return best.bias
  }

  /// The mean distance from a token's best score to the first that is not chosen, on a sample.
  func scoreSpread(_ scores: Matrix) -> Float {
    scores.meanSpread(rank: rule.topK, every: max(1, scores.rows / 1024))
  }
}

/// The step sizes of prices that move against the sign of their errors.
struct PriceSteps {
  private var steps: [Float]
  private var signs: [Float]
  private let first: Float

  init(count: Int, first: Float) {
    steps = [Float](repeating: first, count: count)
    signs = [Float](repeating: 0, count: count)
    self.first = first
  }

  /// Moves price number `index` by its next step; `error` is its load's distance from `target`.
  mutating func move(_ price: inout Float, at index: Int, error: Double, target: Double) {
    guard error != 0 else { return }
    let sign: Float = error > 0 ? 1 : -1
    steps[index] *= sign == signs[index] ? 1.3 : 0.5
    steps[index] = min(max(steps[index], first * 1e-6), first * 10)
    signs[index] = sign
    // A nearly right load moves by less than a wrong one.
    let relative = Float(abs(error) / max(target, 1e-9))
    price -= sign * steps[index] * min(1, relative).squareRoot()
  }
}
