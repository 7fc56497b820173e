// SPDX-License-Identifier: Apache-2.0
//
// How long a fit takes, told from what few tokens take in the first layers. Running the model grows
// with the tokens from something fixed, the decoding of weights; so does the output head. Of a
// layer's fit, the search of clones and the training of a linear gate look at some thousand tokens
// at most, and the rest grows with the tokens: it is timed once, on so many rows.

package import ByteStorage
import Fitting
import OrderedCollections
import Traffic

/// What something takes for n tokens: `fixed` + `perToken` n seconds.
package struct TokenCost: Sendable, Hashable {
  package var fixed = 0.0
  package var perToken = 0.0

  package init() {}

  /// The line through what two numbers of tokens took, which never falls; one number twice, or a
  /// single one, tells nothing fixed.
  package init(_ few: (tokens: Int, seconds: Double), _ more: (tokens: Int, seconds: Double)) {
    let added = more.seconds - few.seconds
    guard more.tokens > few.tokens, added > 0 else {
      perToken = more.seconds / Double(max(1, more.tokens))
      return
    }
    let slope = added / Double(more.tokens - few.tokens)
    // What is fixed is not negative.
    perToken = min(slope, more.seconds / Double(more.tokens))
    fixed = max(0, more.seconds - perToken * Double(more.tokens))
  }

  package func seconds(_ tokens: Int) -> Double { fixed + perToken * Double(tokens) }
}

/// What a fit takes where all that it reads is in memory.
package struct FitTrial: Sendable {
  /// Running one MoE layer, with what of the model lies between it and the one before.
  package private(set) var model: TokenCost
  /// The output head; nothing on captures.
  package private(set) var head: TokenCost
  /// Fitting one layer.
  package private(set) var fit: TokenCost

  /// Tokens of the first trial of the model; each further one has twice as many, until one takes
  /// that long.
  private static let tokens = 512
  private static let seconds = 2.0
  /// As many layers are fitted as are begun in that time: they differ.
  private static let fitSeconds = 6.0
  /// The model runs through two layers, or one where two took longer than that at first.
  private static let longSeconds = 5.0
  /// Rows of the trial of a fit: what is bounded has reached its bound.
  private static let rows = 16_384
  /// Rows of a fit that is not timed.
  private static let fewRows = 64

  /// Tries out the fit that `fitter` is for, of several candidates, which are in the order of their
  /// strengths, the one in the middle in the place of all.
  package init(_ fitter: ModelFitter, _ candidates: [FitCandidate]) throws(RegateError) {
    fitter.progress.begin("Trying out this machine", total: 0)
    defer { fitter.progress.end() }
    let all = fitter.traffic.rows
    var layers = 2.0
    func time(
      _ tokens: Int, fitting rows: Int = Self.fewRows, for seconds: Double = 0
    ) throws(RegateError) -> Timing {
      try fitter.timing(
        of: candidates[candidates.count / 2], tokens: min(all, tokens), rows: rows,
        layers: layers, for: seconds)
    }
    // Brings what is read of the layers into memory.
    let start = ContinuousClock.now
    _ = try time(Self.tokens)
    if (ContinuousClock.now - start) / .seconds(1) > Self.longSeconds { layers = 1 }
    var few = try time(Self.tokens)
    var more = try time(2 * Self.tokens)
    while more.model + more.head < Self.seconds, more.tokens < all, more.tokens > few.tokens {
      few = more
      more = try time(2 * few.tokens)
    }
    model = TokenCost((few.tokens, few.model), (more.tokens, more.model))
    head = TokenCost((few.tokens, few.head), (more.tokens, more.head))
    // The original and one candidate were run.
    let streams = Double(candidates.count + 1) / 2
    model.perToken *= streams
    head.perToken *= streams
    let fitted = fitter.traffic.fittedRows.count
    let rows = min(fitted, Self.rows)
    let whole = try time(more.tokens, fitting: rows, for: Self.fitSeconds)
    fit = TokenCost()
    fit.fixed = whole.bounded * Double(candidates.count)
    fit.perToken = whole.growing * Double(candidates.count) / Double(max(1, rows))
    fit.perToken *= Double(fitted) / Double(max(1, all))
  }

  /// Seconds of one trial, of each of its layers but for the head.
  fileprivate struct Timing {
    let tokens: Int
    let model: Double
    let head: Double
    /// The phases of a fit that look at a bounded number of tokens, and the others.
    let bounded: Double
    let growing: Double
  }
}

extension ModelFitter {
  private static let boundedPhases: Set = ["clone plan", "stock form", "official form"]

  /// A run of so many tokens through the first `least` layers, which are fitted to so many rows of
  /// them, where there are fewer to some more than once; then through further ones, while `seconds`
  /// have not passed.
  fileprivate func timing(
    of candidate: FitCandidate, tokens: Int, rows: Int, layers least: Double,
    for seconds: Double
  ) throws(RegateError) -> FitTrial.Timing {
    let thinned = try traffic.thinned(to: tokens)
    let fitter = ModelFitter(
      model: model, layers: layers, traffic: thinned.fitting(rows: rows), weights: weights,
      settings: settings, keepsBiasType: keepsBiasType, threads: threads, progress: NoProgress(),
      resume: nil)
    let walk = try fitter.walk([candidate])
    var clock = PhaseClock()
    let start = ContinuousClock.now
    var layers = 0.0
    while layers < least || (ContinuousClock.now - start) / .seconds(1) < seconds,
      let layer = try walk.next()
    {
      try progress.requireWanted()
      let task = try LayerTask(fitter, walk: walk, layer: layer, candidates: [candidate])
      _ = try task.run(&clock) { _, _, _ in }
      layers += 1
    }
    clock.lap(LayerTask.otherPhase)
    var phases = clock.seconds
    try walk.tryScoring()
    clock.lap(LayerTask.otherPhase)
    let head =
      clock.seconds[LayerTask.otherPhase, default: 0]
      - phases[LayerTask.otherPhase, default: 0]
    func taken(_ names: Set<String>) -> Double {
      names.reduce(0) { $0 + (phases.removeValue(forKey: $1) ?? 0) } / max(1, layers)
    }
    let model = taken([LayerTask.otherPhase, LayerTask.expertPhase])
    let bounded = taken(Self.boundedPhases)
    return FitTrial.Timing(
      tokens: thinned.rows, model: model, head: head, bounded: bounded,
      growing: taken(Set(phases.keys)))
  }
}
