// SPDX-License-Identifier: Apache-2.0
//
// The least change that evens out the ranks of an expert-parallel group:
//
// 1. Renumbering (Routing/Placement.swift, SteadyPlacement.swift), which loses nothing. Where it
//    is not enough, the cheapest of
// 2. clones, one after the other until it is: the expert that is most loaded per copy is copied
//    over the one whose loss costs the layer's output least, of the few that matter least by load x
//    saliency. All other tokens keep their experts,
// 3. selection biases towards uniform load beside some of these clones, as weak as will do.
//
// Costs are errors of the layer's output on sampled tokens (OutputDeviation.swift).

import Routing
import Tensors

/// A layer's experts and their places for even ranks.
struct RankPlan {
  /// The logical expert in each place, [E].
  var physicalToLogical: [Int]
  /// b [F]
  var selectionBias: [Float]
  /// What was tried; the last was taken.
  var stages: [RankStage]
  /// Whether that is even enough.
  var isEven: Bool
}

/// The search for it.
struct RankSearch {
  let deviation: OutputDeviation
  private let rule: RoutingRule
  private let ranks: RankBalance
  private let threads: Int
  /// pi [T',F] of at most `sampleTokens` tokens.
  private let scores: Matrix
  /// load x saliency [F].
  private let values: [Double]
  /// Logical experts that other traffic needs.
  private let needed: Set<Int>
  private let allowsClones: Bool
  private let start: [Float]

  private static let sampleTokens = 32768
  /// Experts whose loss is measured, for each clone.
  private static let candidates = 8
  /// Clones without any gain after which no more are tried.
  private static let patience = 8
  /// The plan for protected traffic that says which experts it keeps (PlanSearch.swift).
  private static let protection = 0.3
  /// Part of the slack that half-samples of the fitted tokens may use: other texts are less even.
  /// On a Qwen3-MoE at 8 ranks (slack 0.05, 12,288 tokens of other text) 0.5 gave 1.039 for +0.0030
  /// nats, 0.6 gives 1.041 for +0.0004, 0.7 gave 1.053 and 0.85 gave 1.049, both for +0.00003.
  static let share = 0.6
  /// The same where nothing lossy was done yet: what lies between costs more than it brings.
  private static let tolerance = 0.8
  /// Strengths of the biases.
  private static let strengths = [0.1, 0.2, 0.35, 0.5, 0.75, 1]

  /// One state of the search.
  private struct State {
    /// The logical expert that each physical one holds before it is placed, [E].
    var map: [Int]
    var copies: [Int]
    var bias: [Float]
    var means = RankStage.Means.renumbering
    /// Load of each logical expert in each run, [runs][F].
    var loads: [[Int]] = []
    /// Where the experts go, [E].
    var order: [Int] = []
    var imbalance = Double.infinity

    var selectable: [Bool] { copies.map { $0 > 0 } }
    var clones: Int { copies.count { $0 == 0 } }
  }

  /// `set` are the tokens, `router` the original in the prototype's form, `sketch` the experts'
  /// outputs on some of them.
  init(
    _ set: CalibrationSet, router: PrototypeRouter, sketch: OutputSketch, ranks: RankBalance,
    options: FitOptions
  ) {
    rule = router.rule
    self.ranks = ranks
    threads = options.threads
    allowsClones = options.clones
    start = router.selectionBias
    let scored = set.sample(Self.sampleTokens)
    scores = router.scores(
      router.latent(scored.inputs, threads: threads), threads: threads)
    let sample = set.gathering(sketch.tokens)
    deviation = OutputDeviation(
      rule: rule,
      scores: router.scores(
        router.latent(sample.inputs, threads: threads), threads: threads),
      original: sample.assignment, sketch: sketch, threads: threads)
    values = zip(set.load, zip(set.routingWeights, sketch.norms)).map {
      Double($0) * $1.0 * $1.1
    }
    needed = ProtectedLoad.needed(options.protected, rule: rule, exponent: Self.protection)
  }

  func plan() -> RankPlan {
    var first = State(
      map: Array(0..<rule.experts), copies: [Int](repeating: 1, count: rule.experts), bias: start)
    measure(&first)
    let asIs = steady(first).imbalance(first.map)
    var stages = [RankStage(means: .asIs, imbalance: asIs, error: nil)]
    // What is even as it lies stays there.
    guard asIs > limit else {
      return RankPlan(
        physicalToLogical: first.map, selectionBias: start, stages: stages, isEven: true)
    }
    stages.append(.init(means: .renumbering, imbalance: first.imbalance, error: nil))
    var best = first
    if first.imbalance > tolerated {
      let states = changed(first)
      best = cheapest(states) ?? states.min { $0.imbalance < $1.imbalance } ?? first
      if best.means != .renumbering {
        stages.append(.init(means: best.means, imbalance: best.imbalance, error: error(best)))
      }
    }
    return RankPlan(
      physicalToLogical: best.order.map { best.map[$0] }, selectionBias: best.bias, stages: stages,
      isEven: best.imbalance <= (best.means == .renumbering ? tolerated : limit))
  }

  /// Where lossy changes begin, and what they are to reach.
  private var tolerated: Double { 1 + Self.tolerance * ranks.slack }
  private var limit: Double { ranks.followsStock ? tolerated : 1 + Self.share * ranks.slack }

  private func error(_ state: State) -> Double {
    deviation.error(bias: state.bias, selectable: state.selectable)
  }

  /// The even one that costs least.
  private func cheapest(_ states: [State]) -> State? {
    states.filter { $0.imbalance <= limit }.map { (error($0), $0) }
      .min { ($0.0, $0.1.clones) < ($1.0, $1.1.clones) }?.1
  }

  /// States with clones, and with biases beside some of them.
  private func changed(_ first: State) -> [State] {
    let path = allowsClones ? clonePath(first) : [first]
    // With 0, 1, 2, 4, 8, .. clones.
    let some = path.indices.filter { $0 & ($0 - 1) == 0 }
    return path + some.map { biased(path[$0]) }
  }

  // MARK: Clones

  /// The state with no clone, one, two, .. until one is even or more do not help.
  private func clonePath(_ first: State) -> [State] {
    var path = [first]
    var least = first.imbalance
    var without = 0
    while path[path.count - 1].imbalance > limit, without < Self.patience,
      let next = withClone(path[path.count - 1])
    {
      path.append(next)
      without = next.imbalance < least - 1e-9 ? 0 : without + 1
      least = min(least, next.imbalance)
    }
    return path
  }

  /// One clone more: of the most loaded expert that can have one.
  private func withClone(_ state: State) -> State? {
    let load = total(state.loads)
    let share = { (logical: Int) in Double(load[logical]) / Double(state.copies[logical]) }
    let takers = state.copies.indices.filter {
      state.copies[$0] > 0 && state.copies[$0] < rule.clonesLimit
    }.sorted { (-share($0), $0) < (-share($1), $1) }
    for taker in takers.prefix(Self.candidates) {
      guard let giver = giver(state, for: taker) else { continue }
      var next = state
      next.map[giver] = taker
      next.copies[giver] = 0
      next.copies[taker] += 1
      next.means = .clones(next.clones)
      measure(&next)
      return next
    }
    return nil
  }

  /// The expert of the taker's group whose loss costs least.
  private func giver(_ state: State, for taker: Int) -> Int? {
    guard let group = rule.groupRanges.first(where: { $0.contains(taker) }),
      group.count(where: { state.copies[$0] > 0 }) > rule.leastPerGroup
    else { return nil }
    let givers = group.filter { $0 != taker && state.copies[$0] == 1 && !needed.contains($0) }
      .sorted { (values[$0], $0) < (values[$1], $1) }
    return givers.prefix(Self.candidates).map { giver in
      var selectable = state.selectable
      selectable[giver] = false
      return (deviation.error(bias: state.bias, selectable: selectable), giver)
    }.min { $0 < $1 }?.1
  }

  // MARK: Biases

  /// The state with the weakest biases that make it even, or with those that make it most so.
  private func biased(_ state: State) -> State {
    let natural = total(state.loads)
    let loads = LoadTargets(rule: rule, copies: state.copies, natural: natural)
    let solver = SelectionBiasSolver(rule: rule, selectable: state.selectable, threads: threads)
    var (next, best) = (state, state)
    for strength in Self.strengths {
      next.bias = solver.solve(
        scores: scores, targets: loads.targets(strength: strength), from: next.bias)
      next.means = .biases(strength, clones: state.clones)
      measure(&next)
      if next.imbalance < best.imbalance { best = next }
      if next.imbalance <= limit { break }
    }
    return best
  }

  // MARK: Ranks

  /// Loads of the state, its placement, and how even its ranks are then.
  private func measure(_ state: inout State) {
    let selection = Selection(rule: rule, bias: state.bias, selectable: state.selectable)
    let runs = SteadyPlacement.runs
    state.loads = (0..<runs).map { run in
      let rows = scores.rows * run / runs..<scores.rows * (run + 1) / runs
      return selection.load(scores.gathering(rows: Array(rows)), threads: threads)
    }
    let steady = steady(state)
    state.order = steady.order(load: physical(state, total(state.loads)))
    state.imbalance = steady.imbalance(state.order)
  }

  private func steady(_ state: State) -> SteadyPlacement {
    SteadyPlacement(
      runs: state.loads.map { physical(state, $0) }, groups: ranks.groups(rule),
      ranks: ranks.counts)
  }

  /// The load of each physical expert: copies share evenly. In parts, so that shares are whole.
  private func physical(_ state: State, _ load: [Int]) -> [Int] {
    state.map.map { load[$0] * Self.parts / state.copies[$0] }
  }

  /// Divided by 1 to 10 without a rest.
  private static let parts = 2520

  private func total(_ loads: [[Int]]) -> [Int] {
    loads[0].indices.map { logical in loads.reduce(0) { $0 + $1[logical] } }
  }
}
