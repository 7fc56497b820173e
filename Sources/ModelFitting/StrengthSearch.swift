// SPDX-License-Identifier: Apache-2.0
//
// One mechanism for every target: fits of several strengths run side by side in one read of the
// weights, tokens that no fit saw judge them, and the best that keeps within the limit is taken.

package import ByteStorage
package import Measures
import Reports

package enum StrengthSearch {
  /// Denser towards full balance, where a step of strength costs most.
  package static let candidates = [0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 1]

  /// The place of the point to take, or what comes nearest as an error.
  package static func choose(
    _ points: [BalancePoint], for budget: Budget
  ) throws(RegateError) -> Int {
    let missing = Double.infinity
    switch budget {
    case .strength, .evenRanks, .pruned: return 0
    case .targetGini(let target):
      if let first = points.firstIndex(where: { ($0.gini ?? missing) <= target }) { return first }
      throw unreached("`targetGini`", "\(target)", points) { $0.gini }
    case .maxLossIncrease(let limit):
      if let best = mostBalanced(points, within: limit, { $0.lossIncrease }) { return best }
      throw unreached("`maxLossIncrease`", "\(limit) nats", points) { $0.lossIncrease }
    case .maxOutputError(let limit):
      if let best = mostBalanced(points, within: limit, { $0.outputError }) { return best }
      throw unreached("`maxOutputError`", "\(limit)", points) { $0.outputError }
    }
  }

  private static func mostBalanced(
    _ points: [BalancePoint], within limit: Double, _ cost: (BalancePoint) -> Double?
  ) -> Int? {
    points.indices.filter { (cost(points[$0]) ?? .infinity) <= limit }
      .min { (points[$0].gini ?? .infinity) < (points[$1].gini ?? .infinity) }
  }

  private static func unreached(
    _ field: String, _ limit: String, _ points: [BalancePoint], _ figure: (BalancePoint) -> Double?
  ) -> RegateError {
    let nearest = points.min { (figure($0) ?? .infinity) < (figure($1) ?? .infinity) }
    return RegateError(
      .unreached, subject: field,
      "\(limit) was not reached on held-out tokens: the nearest is "
        + (nearest.map { words($0) } ?? "unknown"),
      advice: "nothing was written; use more calibration tokens, another limit or another `router`")
  }

  /// A point in words.
  package static func words(_ point: BalancePoint, for budget: Budget? = nil) -> String {
    var text = "a held-out Gini of \(Format.number(point.gini, decimals: 4))"
    if budget?.hasStrength ?? true { text += " at strength \(point.strength)" }
    if let increase = point.lossIncrease {
      text += " for \(Format.signed(increase, decimals: 4)) nats"
    }
    if let error = point.outputError {
      text += ", output error \(Format.number(error, decimals: 4))"
    }
    return text
  }

  /// The knee of a curve that begins at strength 0: with cost and Gini both scaled to 0...1, the
  /// point farthest below the straight line from the curve's cheapest to its most balanced point
  /// (Satopaa and others 2011). Nil with fewer than three points, without cost or gain, or where
  /// all lie on the line or above.
  package static func knee(_ curve: [BalancePoint]) -> BalancePoint? {
    let points = curve.filter { $0.cost != nil && $0.gini != nil }
    guard points.count > 2, let first = points.first,
      let last = points.min(by: { ($0.gini ?? 1) < ($1.gini ?? 1) })
    else { return nil }
    let (cost, gain) = ((last.cost ?? 0) - (first.cost ?? 0), (first.gini ?? 0) - (last.gini ?? 0))
    guard cost > 0, gain > 0 else { return nil }
    func depth(_ point: BalancePoint) -> Double {
      let x = ((point.cost ?? 0) - (first.cost ?? 0)) / cost
      let y = ((first.gini ?? 0) - (point.gini ?? 0)) / gain
      return y - x
    }
    guard let knee = points.max(by: { depth($0) < depth($1) }), depth(knee) > 0 else { return nil }
    return knee
  }

  /// How the knee is found, for readers.
  package static let kneeMethod =
    "the point farthest from the straight line between no change and the most balanced point, cost "
    + "and Gini both scaled to 0 to 1 (Kneedle, Satopaa and others 2011)"
}
