// SPDX-License-Identifier: Apache-2.0
//
// Which tokens a fit sees, and which only judge it. Without weights, protected sets or a budget all
// calibration is one set and all of it is fitted. Otherwise
//
// - of every calibration set one eighth is held out: every eighth sequence of tokens, every eighth
//   run of captured activations, whose sequences are not known;
// - weighted sets are cut to the largest total at which each has its share, so that no token counts
//   twice;
// - protected sets are measured whole and fitted to not at all.

import Architectures
import ByteStorage
import Checkpoints
import Fitting

/// What a set of tokens is for.
enum SetRole: String, Sendable {
  /// Fitted to, but for a part that judges the fit.
  case calibration
  /// Not balanced, but its experts are never given up.
  case protected
  /// Judges a finished model.
  case validation
}

struct CalibrationMix: Sendable {
  /// One set by its rows of all tokens.
  struct Part: Sendable {
    let name: String
    let role: SetRole
    /// Its share among the calibration sets; nil for others.
    let share: Double?
    /// Rows that are fitted.
    let fitted: [Int]
    /// Rows that the fit does not see.
    let measured: [Int]
    /// The sequences that these rows are, by number; empty for captures.
    let measuredSequences: [Int]
  }

  /// The tokens or captures of all sets, one after the other.
  let calibration: Calibration
  /// Empty where all is one set and all is fitted.
  let parts: [Part]

  /// Rows that are fitted; nil for all.
  var fittedRows: [Int]? { parts.isEmpty ? nil : parts.flatMap(\.fitted) }

  /// The measured rows of all calibration sets, then of each set, protected ones included.
  var measuredGroups: [[Int]] {
    parts.isEmpty
      ? [] : [parts.filter { $0.role == .calibration }.flatMap(\.measured)] + parts.map(\.measured)
  }

  /// T, over all sets.
  var tokens: Int { calibration.tokens }

  /// Opens the sets of `request`.
  init(
    _ request: ConvertRequest, for model: Model, checkingGates: Bool = true
  ) throws(RegateError) {
    guard request.holdsOut else {
      calibration = try Calibration(
        request.calibration, for: model, options: request.tokens, checkingGates: checkingGates)
      parts = []
      return
    }
    self = try CalibrationMix(
      try Source.all(request), for: model, options: request.tokens, checkingGates: checkingGates)
  }

  /// Opens `paths` to judge a finished model on: each is a set of its own, measured whole.
  init(judging paths: [String], for model: Model, options: TokenOptions) throws(RegateError) {
    let sources = paths.map {
      Source(
        name: $0.lastPathComponent, paths: [$0], role: .validation, share: nil,
        budget: 1 / Double(paths.count))
    }
    self = try CalibrationMix(sources, for: model, options: options, checkingGates: true)
  }

  private init(
    _ sources: [Source], for model: Model, options: TokenOptions, checkingGates: Bool
  ) throws(RegateError) {
    var opened: [Calibration] = []
    for source in sources {
      var own = options
      own.maxTokens = max(2, Int((Double(options.maxTokens) * source.budget).rounded()))
      opened.append(
        try Calibration(source.paths, for: model, options: own, checkingGates: checkingGates))
    }
    let sets = opened.compactMap { if case .tokens(let set) = $0 { set } else { nil } }
    if sets.count == sources.count {
      (calibration, parts) = try CalibrationMix.tokens(sets, sources, options)
    } else if sets.isEmpty {
      let captures = try Captures(
        sources.flatMap(\.paths), for: model, checkingGates: checkingGates)
      calibration = .captures(captures)
      parts = try CalibrationMix.captures(captures, sources)
    } else {
      throw RegateError(
        .refused, subject: "--calibration",
        "captured activations and tokens cannot be mixed",
        advice: "give all calibration and protected sets in one form")
    }
  }

  // MARK: Sets as they were asked for

  private struct Source {
    let name: String
    let paths: [String]
    let role: SetRole
    /// nil but for calibration.
    let share: Double?
    /// Its part of the token budget.
    let budget: Double

    /// Protected sets only need enough to show which experts they use.
    private static let protectedBudget = 0.25

    static func all(_ request: ConvertRequest) throws(RegateError) -> [Source] {
      var sources: [Source] = []
      if request.weights.isEmpty {
        sources.append(
          Source(
            name: request.calibration.map(\.lastPathComponent).joined(separator: ", "),
            paths: request.calibration, role: .calibration, share: 1, budget: 1))
      } else {
        let total = request.weights.reduce(0, +)
        guard request.weights.count == request.calibration.count, total.isFinite,
          request.weights.allSatisfy({ $0 > 0 })
        else {
          throw RegateError(
            .mismatch, subject: "--weights",
            "gives \(request.weights.count) weights for \(request.calibration.count) calibration "
              + "files", advice: "give one weight above 0 for each --calibration, in their order")
        }
        for (path, weight) in zip(request.calibration, request.weights) {
          sources.append(
            Source(
              name: path.lastPathComponent, paths: [path], role: .calibration,
              share: weight / total, budget: weight / total))
        }
      }
      return sources
        + request.protected.map {
          Source(
            name: $0.lastPathComponent, paths: [$0], role: .protected, share: nil,
            budget: protectedBudget)
        }
    }
  }

  /// The largest total at which every set has its share of it.
  private static func total(_ counts: [Int], _ sources: [Source]) -> Double {
    zip(counts, sources).compactMap { count, source in source.share.map { Double(count) / $0 } }
      .min() ?? 0
  }

  /// One in so many is held out.
  private static let heldOutEvery = 8

  // MARK: Tokens

  private static func tokens(
    _ sets: [TokenSet], _ sources: [Source], _ options: TokenOptions
  ) throws(RegateError) -> (Calibration, [Part]) {
    let total = total(sets.map(\.tokens), sources)
    var sequences: [[Int]] = []
    var rows = 0
    var parts: [Part] = []
    for (set, source) in zip(sets, sources) {
      let set = source.share.map { set.limited(to: Int((total * $0).rounded()), options) } ?? set
      guard source.share == nil || set.sequences.count > 1 else {
        throw RegateError(
          .missing, file: source.paths.first, subject: "--calibration",
          "holds one sequence, and whole sequences must be held out",
          advice: "give more text, or a shorter --length")
      }
      var fitted: [Int] = []
      var measured: [Int] = []
      var numbers: [Int] = []
      for (place, sequence) in set.sequences.enumerated() {
        if source.share == nil || isHeldOut(place, of: set.sequences.count) {
          measured += rows..<rows + sequence.count
          numbers.append(sequences.count)
        } else {
          fitted += rows..<rows + sequence.count
        }
        sequences.append(sequence)
        rows += sequence.count
      }
      parts.append(
        Part(
          name: source.name, role: source.role, share: source.share, fitted: fitted,
          measured: measured, measuredSequences: numbers))
    }
    return (.tokens(TokenSet(sequences: sequences)), parts)
  }

  /// Every eighth; of fewer than eight the last.
  private static func isHeldOut(_ place: Int, of count: Int) -> Bool {
    count < heldOutEvery ? place == count - 1 : place % heldOutEvery == heldOutEvery - 1
  }

  // MARK: Captures

  /// Longest run of consecutive tokens that is held out, and the shortest that is worth it.
  private static let runTokens = 1024
  private static let leastRun = 16

  private static func captures(
    _ captures: Captures, _ sources: [Source]
  ) throws(RegateError) -> [Part] {
    var counts: [Int] = []
    var next = 0
    for source in sources {
      counts.append(captures.tokensPerFile[next..<next + source.paths.count].reduce(0, +))
      next += source.paths.count
    }
    let total = total(counts, sources)
    var start = 0
    var parts: [Part] = []
    for (count, source) in zip(counts, sources) {
      let rows = start..<start + count
      start += count
      guard let share = source.share else {
        parts.append(
          Part(
            name: source.name, role: source.role, share: nil, fitted: [], measured: Array(rows),
            measuredSequences: []))
        continue
      }
      let run = min(runTokens, count / (2 * heldOutEvery))
      guard run >= leastRun else {
        throw RegateError(
          .missing, file: source.paths.first, subject: "--calibration",
          "has \(count) tokens, too few to hold some out",
          advice: "capture \(2 * heldOutEvery * leastRun) tokens or more")
      }
      let wanted = Int((total * share).rounded())
      let kept = rows.filter { row in
        // Evenly spread; all where the set has no more than its share.
        (row - rows.lowerBound + 1) * wanted / count > (row - rows.lowerBound) * wanted / count
      }
      let isHeldOut = { (row: Int) in
        (row - rows.lowerBound) / run % heldOutEvery == heldOutEvery - 1
      }
      parts.append(
        Part(
          name: source.name, role: source.role, share: share,
          fitted: kept.filter { !isHeldOut($0) }, measured: kept.filter(isHeldOut),
          measuredSequences: []))
    }
    return parts
  }
}
