// SPDX-License-Identifier: Apache-2.0
//
// One pass over the layers for all options: the routers of each are fitted side by side, as in a
// sweep, and what is only a question of places is planned from where the original sends its tokens.

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Measures
import ModelFitting
import Reports
import Routing
import Runtimes
import Tensors
import Traffic

struct AdviceRun {
  private let request: Advice.Request
  private let model: Model
  private let progress: any ProgressSink
  /// For each number of ranks.
  private let options: [(ranks: Int, options: [any AdviceOption])]
  private let leftOut: [String]

  /// Checks what is asked for.
  init(_ request: Advice.Request, _ progress: any ProgressSink) throws(RegateError) {
    self.request = request
    self.progress = progress
    model = try Model.open(request.checkpoint, precision: request.load.precision)
    try request.requirePossible(model)
    let chosen = OptionChoice(request, model)
    options = request.ranks.map { ($0, chosen.options(ranks: $0)) }
    leftOut = chosen.leftOut
  }

  func run(_ announce: (String) -> Void) throws(RegateError) -> Advice {
    var meters = options.flatMap { entry in
      entry.options.map {
        RankMeter(
          $0, ranks: entry.ranks, sizes: request.batches, roofline: request.roofline)
      }
    }
    let found =
      switch request.load {
      case .counts(let files): try measure(&meters, counts: files)
      case .traffic(let files, let tokens): try measure(&meters, files, tokens, announce)
      }
    let commands = AdviceCommands(request, container: model.checkpoint.container)
    var rows: [Advice.Row] = []
    for meter in meters {
      let fit = meter.option.candidate.flatMap { found.fits[$0] }
      rows.append(try meter.row(fit, of: model, commands))
    }
    let sizes = Set(rows.flatMap { $0.batches.map(\.tokens) })
    return Advice(
      checkpoint: request.checkpoint, loadSource: found.source, tokens: found.tokens,
      heldOutTokens: found.heldOut,
      groups: options.map { entry in
        .init(ranks: entry.ranks, rows: rows.filter { $0.ranks == entry.ranks })
      }, roofline: request.roofline,
      leftOut: leftOut + found.leftOut(request.batches.filter { !sizes.contains($0) }),
      checkpointBytes: model.checkpoint.files.reduce(0) { $0 + $1.count },
      warnings: model.warnings)
  }

  /// What the traffic was, and the fits to it.
  private struct Found {
    let source: String
    let tokens: Int
    let heldOut: Int?
    /// Tokens that batches can be made of; nil where only totals are known.
    let served: Int?
    var fits: [FitCandidate: ModelFit] = [:]

    /// What is not known of batches.
    func leftOut(_ sizes: [Int]) -> [String] {
      guard let served else {
        return [
          "Batches and the time that they take are not known: \(source) tells totals only, not "
            + "which experts a token uses."
        ]
      }
      return sizes.map {
        "Batches of \(Format.count($0)) tokens are left out: there are \(Format.count(served)) "
          + "tokens to make them of."
      }
    }
  }

  // MARK: Counts

  private func measure(
    _ meters: inout [RankMeter], counts files: [String]
  ) throws(RegateError) -> Found {
    let counts = try CountsLoad(files, for: model, holdingOut: true)
    model.warnOfMovedExperts(counts: files, progress)
    var served: Int?
    for number in model.layout.layers.indices {
      let traffic = try counts.traffic(layer: number)
      served = traffic.served?.tokens
      try add(number, &meters) { _ in traffic }
    }
    return Found(
      source: counts.source, tokens: counts.tokens, heldOut: counts.heldOutTokens, served: served)
  }

  // MARK: Traffic

  private func measure(
    _ meters: inout [RankMeter], _ files: [String], _ tokens: TokenOptions,
    _ announce: (String) -> Void
  ) throws(RegateError) -> Found {
    let sets = CalibrationSets(files, tokens: tokens)
    let traffic = try TrafficSample(sets, for: model, judged: true, progress: progress)
    let candidates = self.candidates
    let settings = FitSettings(seed: tokens.seed)
    announce(
      try ConversionPlan.Work(
        model, traffic, settings: settings, candidates: candidates.count, threads: request.threads
      ).memory)
    let served = traffic.servedRows(of: traffic.calibrationParts)
    let fitted = traffic.fittedRows
    var number = 0
    var found = Found(
      source: traffic.calibration.description, tokens: fitted.count, heldOut: served.count,
      served: served.count)
    func observe(
      _ layer: MoELayer, _ before: Assignment, _ after: [Assignment]
    ) throws(RegateError) {
      let pruned = [0] + candidates.map { $0.budget.pruned ?? 0 }
      let streams = zip([before] + after, pruned).map { assignment, pruned in
        LayerTraffic(
          assignment, experts: layer.rule.experts - pruned, fitted: fitted, served: served)
      }
      try add(number, &meters) { candidate in
        streams[candidate.flatMap { candidates.firstIndex(of: $0) }.map { $0 + 1 } ?? 0]
      }
      number += 1
    }
    guard !candidates.isEmpty else {
      try walk(traffic, served, observe)
      return found
    }
    let fits = try ModelFitter(
      model: model, traffic: traffic, weights: sets.weights, settings: settings,
      keepsBiasType: false,
      threads: request.threads, progress: progress, resume: nil
    ).fit(candidates, observer: observe)
    for (candidate, fit) in zip(candidates, fits) { found.fits[candidate] = fit }
    return found
  }

  /// The fits that options need, each once.
  private var candidates: [FitCandidate] {
    var candidates: [FitCandidate] = []
    for candidate in options.flatMap(\.options).compactMap(\.candidate)
    where !candidates.contains(candidate) {
      candidates.append(candidate)
    }
    return candidates
  }

  /// The layers of a model that no router is fitted to.
  private func walk(
    _ traffic: TrafficSample, _ heldOut: [Int], _ observe: ModelFitter.Observer
  ) throws(RegateError) {
    let walk = try LayerWalk(
      model, traffic.calibration, apart: heldOut, streams: 1, threads: request.threads,
      label: "Counting", units: { _ in 1 }, progress: progress)
    let last = model.layout.layers.last?.index
    while let layer = try walk.next() {
      let routed = walk.route(try model.router(of: layer).router, stream: 0)
      try observe(layer, routed, [])
      walk.advance(1)
      // What comes after the last router changes no load.
      guard layer.index != last else { break }
      _ = try walk.finish([routed], maps: [nil])
    }
    progress.end()
  }

  /// Adds MoE layer number `number` to all meters; `traffic` is that of a candidate's router, or of
  /// the original one.
  private func add(
    _ number: Int, _ meters: inout [RankMeter], _ traffic: (FitCandidate?) -> LayerTraffic
  ) throws(RegateError) {
    let groups = model.movableGroups[number]
    for place in meters.indices {
      try meters[place].add(
        model.layout.layers[number], traffic(meters[place].option.candidate), groups: groups)
    }
  }
}
