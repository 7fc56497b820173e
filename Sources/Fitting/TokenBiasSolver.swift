// SPDX-License-Identifier: Apache-2.0
//
// Selection biases that keep the load even on other texts, b_f + z . v_f.
//
// An expert that serves one kind of text is overloaded where that kind is frequent, whatever b_f
// balances on the calibration set. Its load is then correlated with the directions in which texts
// differ (TextAxes.swift). Exact prices against that would hold the moments
//
//   m_fj = E[a_f(t) g_j(t)] / target_f        a: chosen or not, g_j: coordinate of axis j
//
// at zero, one constraint for each logical expert and axis beside the load's own, which costs much:
// every kind of text then uses all experts alike. A small share of those prices costs next to
// nothing, since the chosen scores fall only with their square, while the moments fall in
// proportion. So
//
//   v_fj = - strength x spread x share_j x m_fj
//
// with b solved to the targets at the same time: the soft form of the constraints, weighted by how
// much texts differ along the axis. Below 0 the strength turns that round: an expert is preferred
// where its kind of text is. spread: the scores' typical distance from best to unchosen.

package import ByteStorage
import Routing
package import Tensors

/// The solver for selection biases and token-dependent biases together.
package struct TokenBiasSolver: Sendable {
  /// What was solved.
  package struct Solution: Sendable {
    /// b [F]
    package let selectionBias: [Float]
    /// v [F,R]
    package let tokenBias: Matrix
  }

  private let solver: SelectionBiasSolver
  private let strength: Double
  private let reach: Double

  /// How far token-dependent biases follow the moments at full strength. A balanced Qwen3-MoE's
  /// held-out Gini goes from 0.041 to 0.035 for +0.002 nats; on a DeepSeek-V3 that was trained
  /// balanced, 0.3 costs +0.004 nats and 1.0 +0.022, so that more is not worth it.
  private static let following = 0.1
  private static let sampleTokens = 16384
  private static let passes = 100
  /// How far a pass moves them to where the moments want them.
  private static let damping: Float = 0.1

  /// `strength` is that of the fit, -1...1; `reach` multiplies token-dependent biases.
  package init(_ solver: SelectionBiasSolver, strength: Double, reach: Double = 1) {
    self.solver = solver
    self.strength = strength
    self.reach = reach
  }

  /// The biases that give `targets` [F], shares of T*K that sum to 1, on `scores` [T,F] of
  /// tokens at `latent` [T,R], from `start` [F].
  package func solve(
    scores: Matrix, latent: Matrix, targets: [Double], from start: [Float]
  ) throws(RegateError) -> Solution {
    let axes = try TextAxes(latent: latent, tokens: Array(0..<latent.rows))
    let tokenBias =
      axes.axes.rows > 0
      ? following(scores, axes, latent, targets, start)
      : Matrix(rows: targets.count, columns: latent.columns)
    let compared = PrototypeRouter.compared(
      scores, latent: latent, tokenBias: tokenBias, threads: solver.threads)
    return Solution(
      selectionBias: solver.solve(scores: compared, targets: targets, from: start),
      tokenBias: tokenBias)
  }

  /// v [F,R].
  private func following(
    _ allScores: Matrix, _ axes: TextAxes, _ latent: Matrix, _ targets: [Double], _ start: [Float]
  ) -> Matrix {
    let sample = evenSample(of: latent.rows, limit: Self.sampleTokens)
    let scores = allScores.gathering(rows: sample)
    let places = axes.coordinates(latent.gathering(rows: sample), threads: solver.threads)
    let unit = solver.scoreSpread(scores)
    let pull = axes.shares.map { Float(Self.following * reach * strength * max(0, $0)) * unit }
    let logicals = targets.indices.filter { solver.selectable[$0] && targets[$0] > 0 }
    var tokenBias = Matrix(rows: targets.count, columns: places.columns)
    var bias = start
    var steps = PriceSteps(count: targets.count, first: 0.1 * unit)
    for _ in 0..<Self.passes {
      let compared = PrototypeRouter.compared(
        scores, latent: places, tokenBias: tokenBias, threads: solver.threads)
      let served = Selection(
        rule: solver.rule, bias: bias, selectable: solver.selectable
      ).assign(compared, threads: solver.threads) { _, logical in logical }
      let load = served.load(experts: targets.count)
      let moments = moments(served, places)
      let total = Double(served.experts.count)
      for logical in logicals {
        steps.move(
          &bias[logical], at: logical,
          error: Double(load[logical]) / total - targets[logical], target: targets[logical])
        for axis in 0..<places.columns {
          let moment = moments[logical * places.columns + axis] / (total * targets[logical])
          let wanted = -pull[axis] * Float(moment)
          tokenBias[logical, axis] += Self.damping * (wanted - tokenBias[logical, axis])
        }
      }
    }
    return LinearAlgebra.multiply(tokenBias, axes.axes, threads: solver.threads)
  }

  /// Sum over tokens of the places of those that each logical expert serves, [F,A].
  private func moments(_ served: Assignment, _ places: Matrix) -> [Double] {
    let size = places.columns
    let count = solver.rule.experts * size
    let partials = mapBlocks(
      count: served.tokens, blockSize: 4096, threads: solver.threads
    ) { _, tokens in
      var sums = [Double](repeating: 0, count: count)
      let values = places.values.span
      for entry in tokens.lowerBound * served.topK..<tokens.upperBound * served.topK {
        let row = entry / served.topK * size
        let first = Int(served.experts[entry]) * size
        for axis in 0..<size { sums[first + axis] += Double(values[row + axis]) }
      }
      return sums
    }
    var total = [Double](repeating: 0, count: count)
    for partial in partials { for index in total.indices { total[index] += partial[index] } }
    return total
  }
}
