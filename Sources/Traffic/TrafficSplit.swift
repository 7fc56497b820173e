// SPDX-License-Identifier: Apache-2.0
//
// Which tokens a fit sees, and which only judge it.
//
// - Of every calibration set one eighth is held out: every eighth sequence of tokens, every eighth
//   run of captured activations, whose sequences are not known. Neighbours are alike, so whole runs
//   go.
// - Weighted sets are cut to the largest total at which each has its share, so that no token counts
//   twice.
// - Protected sets, and sets that judge a finished model, are measured whole and fitted to not at
//   all.

import ByteStorage

struct TrafficSplit {
  /// Too few tokens to hold some out are an error; otherwise all of them are fitted.
  let mustHoldOut: Bool

  /// One in so many is held out.
  private static let heldOutEvery = 8
  /// Longest run of consecutive captured tokens that is held out, and the shortest worth it.
  private static let runTokens = 1024
  private static let leastRun = 16

  /// The largest total at which every set has its share of it.
  private func total(_ counts: [Int], _ sources: [TrafficSource]) -> Double {
    zip(counts, sources).compactMap { count, source in source.share.map { Double(count) / $0 } }
      .min() ?? 0
  }

  // MARK: Tokens

  func tokens(
    _ sets: [TokenSet], _ sources: [TrafficSource], _ options: TokenOptions
  ) throws(RegateError) -> (Calibration, [TrafficSample.Part]) {
    let total = total(sets.map(\.tokens), sources)
    var sequences: [[Int]] = []
    var rows = 0
    var parts: [TrafficSample.Part] = []
    for (set, source) in zip(sets, sources) {
      let set = source.share.map { set.limited(to: Int((total * $0).rounded()), options) } ?? set
      guard source.share == nil || set.sequences.count > 1 || !mustHoldOut else {
        throw RegateError(
          .missing, file: source.paths.first, subject: "`calibration`",
          "holds one sequence, and whole sequences must be held out",
          advice: "give more text, or a shorter `length`")
      }
      var fitted: [Int] = []
      var heldOut: [Int] = []
      var numbers: [Int] = []
      for (place, sequence) in set.sequences.enumerated() {
        if source.share == nil || isHeldOut(place, of: set.sequences.count) {
          heldOut += rows..<rows + sequence.count
          numbers.append(sequences.count)
        } else {
          fitted += rows..<rows + sequence.count
        }
        sequences.append(sequence)
        rows += sequence.count
      }
      parts.append(
        TrafficSample.Part(
          name: source.name, role: source.role, share: source.share, fitted: fitted,
          heldOut: heldOut, heldOutSequences: numbers))
    }
    return (.tokens(TokenSet(sequences: sequences, runnable: sets[0].runnable)), parts)
  }

  /// Every eighth; of fewer than eight the last; a single one never.
  private func isHeldOut(_ place: Int, of count: Int) -> Bool {
    count < Self.heldOutEvery
      ? count > 1 && place == count - 1 : place % Self.heldOutEvery == Self.heldOutEvery - 1
  }

  // MARK: Captures

  func captures(
    _ captures: Captures, _ sources: [TrafficSource]
  ) throws(RegateError) -> [TrafficSample.Part] {
    let counts = captures.tokensPerLot
    let total = total(counts, sources)
    var start = 0
    var parts: [TrafficSample.Part] = []
    for (count, source) in zip(counts, sources) {
      let rows = start..<start + count
      start += count
      guard let share = source.share else {
        parts.append(
          TrafficSample.Part(
            name: source.name, role: source.role, share: nil, fitted: [], heldOut: Array(rows),
            heldOutSequences: []))
        continue
      }
      let kept = evenly(Int((total * share).rounded()), of: rows)
      guard Self.isDivisible(count) || !mustHoldOut else {
        throw RegateError(
          .missing, file: source.paths.first, subject: "`calibration`",
          "has \(count) tokens, too few to hold some out",
          advice: "capture \(2 * Self.heldOutEvery * Self.leastRun) tokens or more")
      }
      let isHeldOut = { (row: Int) in Self.isHeldOut(row - rows.lowerBound, ofRun: count) }
      parts.append(
        TrafficSample.Part(
          name: source.name, role: source.role, share: share,
          fitted: kept.filter { !isHeldOut($0) }, heldOut: kept.filter(isHeldOut),
          heldOutSequences: []))
    }
    return parts
  }

  /// Tokens of the runs of consecutive ones that are held out of `count`.
  private static func run(of count: Int) -> Int { min(runTokens, count / (2 * heldOutEvery)) }

  /// Whether any of `count` consecutive tokens are held out.
  static func isDivisible(_ count: Int) -> Bool { run(of: count) >= leastRun }

  /// Whether the token at `place` of `count` consecutive ones, whose sequences are not known, is.
  static func isHeldOut(_ place: Int, ofRun count: Int) -> Bool {
    isDivisible(count) && place / run(of: count) % heldOutEvery == heldOutEvery - 1
  }

  /// `rows`, ascending, whose sequences are not known, as runs of neighbours that stand for them.
  static func runs(_ rows: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for row in rows {
      if let last = runs.last, last.upperBound == row, last.count < runTokens {
        runs[runs.count - 1] = last.lowerBound..<row + 1
      } else {
        runs.append(row..<row + 1)
      }
    }
    return runs
  }

  /// `wanted` of `rows`, evenly spread; all where there are no more.
  private func evenly(_ wanted: Int, of rows: Range<Int>) -> [Int] {
    rows.filter { row in
      let place = row - rows.lowerBound
      return (place + 1) * wanted / rows.count > place * wanted / rows.count
    }
  }
}
