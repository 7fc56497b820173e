// SPDX-License-Identifier: Apache-2.0

import Measures
import Reports

extension Advice {
  /// How much longer than the best option a cheaper one may take.
  private static let margin = 0.05

  /// What to do on one number of ranks: the cheapest option whose time is within 5 % of the best.
  public struct Choice: Sendable {
    /// The option.
    public let row: Row
    /// The same without more memory, where that of `row` takes more; nil where nothing else is
    /// within 5 % of the best.
    public let withoutMemory: Row?
  }

  /// For each number of ranks, what to do.
  public var choices: [Choice] { groups.compactMap(\.choice) }

  /// What to do, in one sentence.
  public var sentence: String {
    let clauses = groups.compactMap { group in group.choice.map { group.clause($0) } }
    guard let first = clauses.first else { return "No token was counted: there is no advice." }
    return (["O" + first.dropFirst()] + clauses.dropFirst()).joined(separator: "; ") + "."
  }

  /// What follows from it for single batch sizes, one sentence each.
  var remarks: [String] {
    let sizes = groups.first?.rows.first?.batches.map(\.tokens) ?? []
    return sizes.enumerated().compactMap { place, size in
      let times = groups.flatMap { group in
        group.rows.dropFirst().compactMap { group.times($0)?[place] }
      }
      guard let least = times.min(), let most = times.max(), least > 0.995 else { return nil }
      let slower = most > 1.005 ? ", and some take up to \(Format.number(most, decimals: 2))" : ""
      return "Batches of \(Format.count(size)) tokens gain nothing: every option takes "
        + "\(Format.number(least, decimals: 2)) of the time or more\(slower). There the experts that a "
        + "rank reads set its time, and an even load reads as many of them or more."
    }
  }
}

extension Advice.Group {
  /// Time of the routed experts relative to the checkpoint as it is, by batch size; nil where it is
  /// not known.
  public func times(_ row: Advice.Row) -> [Double]? {
    guard let now = rows.first, !now.seconds.isEmpty, row.seconds.count == now.seconds.count
    else { return nil }
    return zip(row.seconds, now.seconds).map { $1 > 0 ? $0 / $1 : 1 }
  }

  /// The same in one number: the mean over the batch sizes, which is right if as much time goes to
  /// each of them now; where batches are not known, by the busiest rank, as for large batches.
  public func time(_ row: Advice.Row) -> Double? {
    if let times = times(row) { return times.reduce(0, +) / Double(times.count) }
    guard let now = rows.first?.imbalance, let then = row.imbalance else { return nil }
    return then / now
  }

  /// What no runtime was seen to load is not advised where there is something else.
  private var choosable: [Advice.Row] {
    let seen = rows.filter { $0.option == rows.first?.option || !$0.runtimes.isEmpty }
    return seen.count > 1 ? seen : rows
  }

  /// nil where no token was counted.
  public var choice: Advice.Choice? {
    guard let best = choosable.compactMap(time).min() else { return nil }
    let near = choosable.filter { (time($0) ?? .infinity) <= best * (1 + Advice.margin) }
    guard let cheapest = near.min(by: { $0.cost < $1.cost }), let now = rows.first else {
      return nil
    }
    let lighter = near.filter { $0.expertBytes <= now.expertBytes }
    return Advice.Choice(
      row: cheapest,
      withoutMemory: cheapest.expertBytes > now.expertBytes
        ? lighter.min { $0.cost < $1.cost } : nil)
  }

  /// What to do on these ranks, in words.
  fileprivate func clause(_ choice: Advice.Choice) -> String {
    let row = choice.row
    let place = "on \(Format.count(ranks, of: "rank")),"
    guard row.option != rows.first?.option else {
      guard let best = choosable.dropFirst().min(by: { (time($0) ?? 9) < (time($1) ?? 9) }),
        let least = time(best), least < 1
      else { return "\(place) nothing is worth doing: no option is faster than what is there" }
      return "\(place) nothing is worth doing: the best option (\(best.title)) would take "
        + "\(Format.number(least, decimals: 2)) of the time of the routed experts"
    }
    let other = choice.withoutMemory.map {
      " (without more memory, \($0.deed): \(effect($0)), \(price($0)))"
    }
    return "\(place) \(row.deed): \(effect(row)), \(price(row))" + (other ?? "")
  }

  /// What it brings, in words.
  private func effect(_ row: Advice.Row) -> String {
    guard let times = times(row) else {
      return "the busiest rank carries \(Format.number(row.imbalance)) times the mean instead of "
        + "\(Format.number(rows.first?.imbalance))"
    }
    let parts = zip(times, row.batches).map {
      "\(Format.number($0, decimals: 2)) (batches of \(Format.count($1.tokens)))"
    }
    return "the routed experts then take " + Format.list(parts) + " of their time now"
  }

  /// What it costs, in words.
  private func price(_ row: Advice.Row) -> String {
    guard row.isLossless else {
      if let loss = row.lossIncrease { return "for \(Format.signed(loss, decimals: 4)) nats" }
      return "for an output error of \(Format.number(row.outputError))"
    }
    guard let now = rows.first, row.expertBytes > now.expertBytes else { return "at no loss" }
    return "at no loss, with \(Format.bytes(row.expertBytes - now.expertBytes)) more on each rank"
  }
}

extension Advice.Row {
  /// What is cheaper comes first: what loses nothing, of that what takes least memory and then what
  /// writes least; then what loses least.
  fileprivate struct Cost: Comparable {
    let loss: Double
    let memory: Int
    let bytes: Int

    static func < (a: Cost, b: Cost) -> Bool {
      (a.loss, a.memory, a.bytes) < (b.loss, b.memory, b.bytes)
    }
  }

  fileprivate var cost: Cost {
    let lost = max(lossIncrease ?? outputError ?? .infinity, 0)
    // A loss of nothing that was measured comes after what cannot lose.
    return Cost(
      loss: isLossless ? 0 : max(lost, .leastNonzeroMagnitude), memory: expertBytes,
      bytes: bytesToWrite)
  }
}
