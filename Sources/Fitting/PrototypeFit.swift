// SPDX-License-Identifier: Apache-2.0
//
// Fits the prototype router (Routing/PrototypeRouter.swift) of one layer: latent space, clone plan,
// selection bias and token-dependent bias, clones' prototypes and biases, in this order.

package import ByteStorage
package import Routing
import Tensors

/// The prototype router while it is being fitted.
package struct PrototypeFit: Sendable {
  package let router: PrototypeRouter
  /// Share of the logits' variance that the latent space keeps.
  package let explainedVariance: Double
  /// Physical experts whose own logical expert was pruned, and that hold another's copy; ascending.
  package let clones: [Int]
  /// How the ranks became even, where that was asked for.
  package let stages: [RankStage]
  package let phases: PhaseClock
  /// What balance costs in the layer, where that is known.
  let cost: BalanceCost?

  init(
    router: PrototypeRouter, explainedVariance: Double, clones: [Int], stages: [RankStage] = [],
    phases: PhaseClock, cost: BalanceCost? = nil
  ) {
    self.router = router
    self.explainedVariance = explainedVariance
    self.clones = clones
    self.stages = stages
    self.phases = phases
    self.cost = cost
  }

  private static let sampleTokens = 8192

  /// Fits to all tokens of `set`, for even experts or even ranks.
  static func fit(
    _ set: CalibrationSet, _ outputs: OutputSketch?, _ options: FitOptions
  ) throws(RegateError) -> PrototypeFit {
    guard let ranks = options.ranks else { return try fit(set, outputs: outputs, options: options) }
    return try fit(set, outputs: outputs, ranks: ranks, options: options)
  }

  /// Whether it leaves a layer exactly as it is.
  func leaves(_ original: FamilyRouter) -> Bool {
    router == PrototypeFit.unchanged(original).router
  }

  /// Fits to all tokens of `set`.
  package static func fit(
    _ set: CalibrationSet, outputs: OutputSketch?, options: FitOptions
  ) throws(RegateError) -> PrototypeFit {
    var clock = PhaseClock()
    let threads = options.threads
    let basis = try LatentBasis(router: set.router, logits: set.logits, threads: threads)
    let sample = set.sample(sampleTokens)
    var router =
      options.form.isLinear
      ? identityRouter(
        set.router, basis: basis, size: latentSize(basis, sample, options: options))
      : try formedStart(set, basis: basis, options: options)
    router = refined(router, set, options: options)
    clock.lap("latent space")

    var moves = 0
    var plan: ClonePlan?
    var cost: BalanceCost?
    var strength = options.strength
    if options.clones, strength > 0 {
      let search = planSearch(set, router: router, outputs: outputs, options: options)
      let chosen = search.plan(loads: set.load.map(Double.init), weights: set.routingWeights)
      moves = Int((strength * Double(chosen.moves.count)).rounded())
      router.physicalToLogical = chosen.physicalToLogical(moves: moves)
      plan = chosen
      // Outputs that are not known say nothing of their size.
      if outputs != nil, let square = options.residualSquare {
        cost = search.cost(residualSquare: square)
      }
      if let cost {
        strength = search.strength(
          copies: router.physicalOfLogical.map(\.count), asked: strength, cost: cost)
      }
      clock.lap("clone plan")
    }
    let latent = router.latent(set.inputs, threads: threads)
    let scores = router.scores(latent, threads: threads)
    try balance(
      &router, latent: latent.mean, scores: scores, strength: strength, reach: cost?.reach ?? 1,
      threads: threads)
    clock.lap("selection bias")
    try split(&router, latent: latent.mean, scores: scores, threads: threads)
    clock.lap("split of clones")
    return PrototypeFit(
      router: router, explainedVariance: basis.explainedVariance(size: router.latentSize),
      clones: plan?.moves.prefix(moves).map(\.physical).sorted() ?? [], phases: clock, cost: cost)
  }

  private static func planSearch(
    _ set: CalibrationSet, router: PrototypeRouter, outputs: OutputSketch?, options: FitOptions
  ) -> PlanSearch {
    let threads = options.threads
    let sketch =
      outputs
      ?? OutputSketch(
        orthogonal: set.sampledTokens(OutputSketch.sampleTokens), experts: set.router.experts)
    let sample = set.gathering(sketch.tokens)
    let latent = router.latent(sample.inputs, threads: threads)
    return PlanSearch(
      rule: router.rule, scores: router.scores(latent, threads: threads),
      original: sample.assignment, sketch: sketch, start: router.selectionBias,
      protected: options.protected, threads: threads)
  }

  /// The original router in latent form, without clones.
  private static func identityRouter(
    _ original: FamilyRouter, basis: LatentBasis, size: Int
  ) -> PrototypeRouter {
    let zeros = [Float](repeating: 0, count: original.experts)
    return PrototypeRouter(
      encoder: .linear(basis.encoder(size: size)), logicalPrototypes: basis.prototypes(size: size),
      logitBias: basis.bias(size: size), selectionBias: original.selectionBias ?? zeros,
      physicalToLogical: Array(0..<original.experts),
      clonePrototypes: Matrix(rows: original.experts, columns: size), cloneBias: zeros,
      rule: original.rule)
  }

  /// The original router exactly: the gate as encoder, unit prototypes.
  package static func unchanged(_ original: FamilyRouter) -> PrototypeFit {
    let experts = original.experts
    let zeros = [Float](repeating: 0, count: experts)
    let router = PrototypeRouter(
      encoder: .linear(original.gate), logicalPrototypes: .identity(experts),
      logitBias: original.logitBias, selectionBias: original.selectionBias ?? zeros,
      physicalToLogical: Array(0..<experts),
      clonePrototypes: Matrix(rows: experts, columns: experts), cloneBias: zeros,
      rule: original.rule)
    return PrototypeFit(router: router, explainedVariance: 1, clones: [], phases: PhaseClock())
  }

  /// The asked size, or the first in steps of E/16 whose routing overlaps enough.
  private static func latentSize(
    _ basis: LatentBasis, _ sample: CalibrationSet, options: FitOptions
  ) -> Int {
    let full = basis.fullSize
    if case .size(let size) = options.latent { return min(max(1, size), full) }
    let step = max(1, full / 16)
    var size = min(full, (basis.size(keeping: 0.9) + step - 1) / step * step)
    let identity = Array(0..<full)
    while size < full {
      let router = identityRouter(sample.router, basis: basis, size: size)
      let agreement = RoutingAgreement(
        original: sample.assignment, originalMap: identity,
        patched: router.route(sample.inputs, threads: options.threads), patchedMap: identity)
      if agreement.overlap >= wantedOverlap { break }
      size = min(full, size + step)
    }
    return size
  }

  /// Solves selection bias and token-dependent bias to the targets of a strength.
  private static func balance(
    _ router: inout PrototypeRouter, latent: Matrix, scores: Matrix, strength: Double,
    reach: Double, threads: Int
  ) throws(RegateError) {
    let copies = router.physicalOfLogical
    let selectable = copies.map { !$0.isEmpty }
    let natural = Selection(
      rule: router.rule, bias: router.selectionBias, selectable: selectable
    ).load(scores, threads: threads)
    let targets = LoadTargets(rule: router.rule, copies: copies.map(\.count), natural: natural)
    let solution = try TokenBiasSolver(
      SelectionBiasSolver(rule: router.rule, selectable: selectable, threads: threads),
      strength: strength, reach: reach
    ).solve(
      scores: scores, latent: latent, targets: targets.targets(strength: strength),
      from: router.selectionBias)
    router.selectionBias = solution.selectionBias
    router.tokenBias = solution.tokenBias
  }

  /// Gives every clone its cell of the tokens that its logical expert serves.
  static func split(
    _ router: inout PrototypeRouter, latent: Matrix, scores: Matrix, threads: Int
  ) throws(RegateError) {
    let copies = router.physicalOfLogical
    guard copies.contains(where: { $0.count > 1 }) else { return }
    let chosen = Selection(
      rule: router.rule, bias: router.selectionBias, selectable: copies.map { !$0.isEmpty }
    ).assign(
      router.compared(scores, latent: latent, threads: threads), threads: threads
    ) { _, logical in logical }
    var served = [[Int]](repeating: [], count: router.experts)
    for (entry, logical) in chosen.experts.enumerated() where copies[Int(logical)].count > 1 {
      served[Int(logical)].append(entry / chosen.topK)
    }
    for (logical, clones) in copies.enumerated() where clones.count > 1 {
      let tokens = served[logical]
      let cells = try CloneSplit(
        latent: latent.gathering(rows: tokens), tokens: tokens, count: clones.count)
      for (cell, clone) in clones.enumerated() {
        router.cloneBias[clone] = cells.bias[cell]
        for column in 0..<latent.columns {
          router.clonePrototypes[clone, column] = cells.prototypes[cell, column]
        }
      }
    }
  }
}
