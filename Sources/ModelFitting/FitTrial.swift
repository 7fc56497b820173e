// SPDX-License-Identifier: Apache-2.0
//
// How long a fit takes, told from fits of few tokens in the first layers: the seconds of a layer,
// and of the output head, grow linearly with the tokens, and layers are alike.

package import ByteStorage
import Fitting
import Traffic

/// What a part of a fit takes for n tokens: `fixed` + `perToken` n seconds.
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
  /// One MoE layer, with what of the model lies between it and the one before.
  package private(set) var layer = TokenCost()
  /// The output head; nothing on captures.
  package private(set) var head = TokenCost()

  /// Tokens of the first trial, and the time that the larger one is to take.
  private static let tokens = 512
  private static let seconds = 4.0

  /// Tries out the fit of `candidates` that `fitter` is for.
  package init(_ fitter: ModelFitter, _ candidates: [FitCandidate]) throws(RegateError) {
    func time(_ tokens: Int) throws(RegateError) -> Timing {
      defer { fitter.progress.advance(1) }
      return try fitter.timing(of: candidates, tokens: tokens)
    }
    fitter.progress.begin("Trying out this machine", total: 3)
    defer { fitter.progress.end() }
    let all = fitter.traffic.rows
    // Brings what is read of the layers into memory.
    _ = try time(min(all, Self.tokens))
    let few = try time(min(all, Self.tokens))
    let affordable = Self.seconds / max(1e-3, few.total) * Double(few.tokens)
    let more = try time(min(all, max(2 * few.tokens, Int(min(affordable, 1e9)))))
    layer = TokenCost((few.tokens, few.layer), (more.tokens, more.layer))
    head = TokenCost((few.tokens, few.head), (more.tokens, more.head))
  }

  /// One trial.
  fileprivate struct Timing {
    let tokens: Int
    let total: Double
    let layer: Double
    let head: Double
  }
}

extension ModelFitter {
  /// Layers that a trial fits: the last of them is timed from the end of the one before.
  private static let triedLayers = 2

  fileprivate func timing(
    of candidates: [FitCandidate], tokens: Int
  ) throws(RegateError) -> FitTrial.Timing {
    let fitter = ModelFitter(
      model: model, layers: layers, traffic: try traffic.thinned(to: tokens), weights: weights,
      settings: settings, keepsBiasType: keepsBiasType, threads: threads, progress: NoProgress(),
      resume: nil)
    let walk = try fitter.walk(candidates)
    var clock = PhaseClock()
    var ends = [ContinuousClock.now]
    while ends.count <= Self.triedLayers, let layer = try walk.next() {
      try progress.requireWanted()
      let task = try LayerTask(fitter, walk: walk, layer: layer, candidates: candidates)
      _ = try task.run(&clock) { _, _, _ in }
      ends.append(.now)
    }
    try walk.tryScoring()
    ends.append(.now)
    let seconds = zip(ends, ends.dropFirst()).map { ($1 - $0) / .seconds(1) }
    return FitTrial.Timing(
      tokens: fitter.traffic.rows, total: seconds.reduce(0, +),
      layer: seconds[seconds.count - 2], head: seconds[seconds.count - 1])
  }
}
