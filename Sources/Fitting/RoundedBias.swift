// SPDX-License-Identifier: Apache-2.0
//
// A selection bias for a tensor that stays BF16. Rounding moves every load a little (three digits
// of a bias near 1 are coarser than the distances between scores); the values are then moved by
// single BF16 steps, the worst load first, as long as that brings the loads nearer to what the
// exact bias gave:
//
//   minimise sum_j |load_j - wanted_j| over biases of BF16 values
//
// Deterministic: loads are counted, the first of equals moves.

package import Routing
package import Tensors

/// The search over biases that BF16 can hold.
package struct RoundedBias {
  private let rule: RoutingRule
  /// [T,E], unbiased, of at most `sampleTokens` tokens.
  private let scores: Matrix
  private let threads: Int

  private static let sampleTokens = 16384
  /// Steps tried, for each expert.
  private static let triesPerExpert = 8

  package init(rule: RoutingRule, scores: Matrix, threads: Int) {
    self.rule = rule
    self.threads = threads
    self.scores =
      scores.rows <= Self.sampleTokens
      ? scores
      : scores.gathering(rows: evenSample(of: scores.rows, limit: Self.sampleTokens))
  }

  /// The BF16 values whose loads are nearest to those of `exact` [E]; never below 0 where `exact`
  /// is not.
  package func solve(_ exact: [Float]) -> [Float] {
    let wanted = load(exact)
    var bias = exact.map(\.roundedToBF16)
    var found = load(bias)
    var error = distance(found, wanted)
    var stuck = Set<Int>()
    for _ in 0..<Self.triesPerExpert * bias.count where error > 0 {
      let open = bias.indices.filter { !stuck.contains($0) && found[$0] != wanted[$0] }
      guard
        let expert = open.max(by: { abs(found[$0] - wanted[$0]) < abs(found[$1] - wanted[$1]) })
      else { break }
      var moved = bias
      moved[expert] = bias[expert].stepped(up: found[expert] < wanted[expert])
      if moved[expert] < min(0, exact.min() ?? 0) {
        stuck.insert(expert)
        continue
      }
      let load = load(moved)
      let changed = distance(load, wanted)
      if changed < error {
        (bias, found, error) = (moved, load, changed)
        stuck.removeAll()
      } else {
        stuck.insert(expert)
      }
    }
    return bias
  }

  private func load(_ bias: [Float]) -> [Int] {
    Selection(rule: rule, bias: bias).load(scores, threads: threads)
  }

  private func distance(_ a: [Int], _ b: [Int]) -> Int {
    zip(a, b).reduce(0) { $0 + abs($1.0 - $1.1) }
  }
}

extension Float {
  /// A BF16 value of this size, one step away: the distance of BF16's neighbours, but near 0, where
  /// they lie closer than any two scores, a step that can be felt.
  fileprivate func stepped(up: Bool) -> Float {
    let spacing = self == 0 ? 0 : Float(sign: .plus, exponent: exponent - 7, significand: 1)
    let step = max(spacing, 0x1p-12)
    return (up ? self + step : self - step).roundedToBF16
  }
}
