// SPDX-License-Identifier: Apache-2.0
//
// The walk over a model's MoE layers, the only one there is. On tokens it runs the model, layer
// after layer, in one or more streams; on captures it hands out what was captured, the same for all
// streams.
//
//   let walk = try LayerWalk(model, traffic.calibration, streams: 2, ..)
//   while let layer = try walk.next() {
//     let before = walk.route(original, stream: 0)
//     let after = walk.route(patched, stream: 1)
//     let errors = try walk.finish([before, after], maps: [nil, map], groups: groups)
//   }

package import Architectures
package import ByteStorage
package import Checkpoints
package import Inference
import Measures
package import Resuming
package import Routing
package import Tensors

package final class LayerWalk {
  private let model: Model
  /// The MoE layers that are walked over: on tokens all.
  package let layers: [MoELayer]
  private let calibration: Calibration
  private let threads: Int
  private let progress: any ProgressSink
  private let units: (MoELayer) -> Int
  private var stage: ResumeStage?
  /// nil on captures.
  package let pass: ForwardPass?
  /// Place of the layer at hand, or of the next, among the MoE layers.
  private var place = 0
  /// The captured inputs of the layer at hand.
  private var captured: Matrix?
  /// Its experts, once samples were taken.
  private var capturedExperts: LayerExperts?

  /// A walk of `streams` streams. Rows that are `apart` do not touch a bit of the others. `units`
  /// is the work that the caller reports for a layer of captures with `advance`; a run of the model
  /// reports its own. With a `point`, the walk continues where an earlier one of the same `name`
  /// stopped.
  package init(
    _ model: Model, _ calibration: Calibration, apart: [Int] = [], streams: Int, threads: Int,
    label: String, layers: [MoELayer]? = nil,
    units: @escaping (MoELayer) -> Int = { _ in 0 },
    resume: (point: ResumePoint, name: String)? = nil,
    progress: any ProgressSink
  ) throws(RegateError) {
    self.model = model
    let layers = layers ?? model.layout.layers
    self.layers = layers
    self.calibration = calibration
    self.threads = threads
    self.progress = progress
    self.units = units
    switch calibration {
    case .captures:
      pass = nil
      progress.begin(label, total: layers.reduce(0) { $0 + units($1) })
    case .tokens(let set):
      pass = try set.forwardPass(
        apart: apart, streams: streams, threads: threads, label: label, progress: progress)
    }
    stage = nil
    if let resume { stage = try ResumeStage(resume.point, name: resume.name, pass: pass) }
  }

  /// Reports work on a layer of captures.
  package func advance(_ units: Int) { if pass == nil { progress.advance(units) } }

  // MARK: Layers

  /// The next MoE layer, whose inputs are ready; nil when all are done.
  package func next() throws(RegateError) -> MoELayer? {
    try progress.requireWanted()
    guard place < layers.count else {
      try model.checkpoint.requireUnchanged()
      return nil
    }
    let layer = layers[place]
    switch calibration {
    case .captures(let captures): captured = try captures.inputs(layer: layer.index)
    case .tokens:
      guard let pass else { return nil }
      while pass.layer < layer.index {
        try pass.attention()
        try pass.applyDense()
        try stage?.ended(layer: pass.layer - 1, next: pass.layer)
      }
      try pass.attention()
    }
    return layer
  }

  /// T.
  package var tokenCount: Int { calibration.tokens }

  /// What the layer's router reads in a stream, the given rows of [T,H].
  package func inputs(stream: Int, rows: Range<Int>) -> Matrix {
    if let pass { return pass.routerInputs(stream: stream, rows: rows) }
    return captured?.gathering(rows: Array(rows)) ?? Matrix(rows: 0, columns: 0)
  }

  /// The same for rows in ascending order, in one copy: run after run of neighbours.
  package func inputs(stream: Int, rows: [Int]) -> Matrix {
    guard let pass else { return captured?.gathering(rows: rows) ?? Matrix(rows: 0, columns: 0) }
    var values: [Float] = []
    values.reserveCapacity(rows.count * pass.model.hiddenSize)
    var start = 0
    while start < rows.count {
      var end = start + 1
      while end < rows.count, rows[end] == rows[end - 1] + 1 { end += 1 }
      values += pass.routerInputs(stream: stream, rows: rows[start]..<rows[end - 1] + 1).values
      start = end
    }
    return Matrix(rows: rows.count, columns: pass.model.hiddenSize, values: values)
  }

  /// The mean squared norm of the residual stream that the layer's output will be added to, over
  /// rows of a stream; nil on captures.
  package func residualSquare(stream: Int, rows: [Int]) -> Double? {
    pass?.residualSquare(stream: stream, rows: rows)
  }

  /// Where `router` sends the tokens of a stream.
  package func route(_ router: some Router, stream: Int) -> Assignment {
    if let captured { return router.route(captured, threads: threads) }
    guard let pass else { return Assignment(tokens: 0, topK: 0, experts: [], weights: []) }
    return pass.route(router, stream: stream)
  }

  /// A pass over the experts of the layer at hand, which takes samples before the layer ends.
  /// Throws where the experts cannot be decoded.
  package func samplingPass() throws(RegateError) -> ExpertPass {
    try expertPass(layers[place], isLast: false)
  }

  private func expertPass(_ layer: MoELayer, isLast: Bool) throws(RegateError) -> ExpertPass {
    if let experts = pass?.experts {
      return ExpertPass(experts, isLast: isLast, threads: threads) {}
    }
    let experts: LayerExperts
    if let capturedExperts {
      experts = capturedExperts
    } else {
      experts = LayerExperts(layer, try ExpertReader(model))
    }
    capturedExperts = isLast ? nil : experts
    return ExpertPass(experts, isLast: isLast, threads: threads) { [progress] in
      progress.advance(1)
    }
  }

  /// Ends the layer: each stream's tokens go through the experts that its assignment names, of
  /// which `maps[s]` says which expert of the checkpoint each is (nil: its own number).
  ///
  /// The result has for each of `groups` of rows (nil: all), and for each stream, the error of the
  /// routed experts' outputs against stream 0's; on captures it is unknown where the experts cannot
  /// be decoded.
  package func finish(
    _ assignments: [Assignment], maps: [[Int]?], groups: [[Int]?] = []
  ) throws(RegateError) -> [[RelativeError]] {
    let layer = layers[place]
    place += 1
    guard let pass else {
      defer { (captured, capturedExperts) = (nil, nil) }
      return try capturedErrors(layer, assignments, maps, groups)
    }
    return try pass.applyExperts(assignments, maps: maps, errorsOn: groups)
  }

  private func capturedErrors(
    _ layer: MoELayer, _ assignments: [Assignment], _ maps: [[Int]?], _ groups: [[Int]?]
  ) throws(RegateError) -> [[RelativeError]] {
    let experts = layer.rule.experts
    guard let captured, !groups.isEmpty else { return [] }
    guard model.layout.undecodable == nil else {
      advance(experts)
      return groups.map { _ in assignments.map { _ in .unknown } }
    }
    // Only rows that count are run.
    let rows: [Int]? =
      groups.contains(nil) ? nil : Array(Set(groups.compactMap { $0 }.joined())).sorted()
    var local = groups
    if let rows {
      let places = Dictionary(uniqueKeysWithValues: rows.enumerated().map { ($1, $0) })
      local = groups.map { $0?.compactMap { places[$0] } }
    }
    let routings = zip(assignments, maps).map { assignment, map in
      OutputError.Routing(
        assignment: rows.map(assignment.gathering(tokens:)) ?? assignment,
        map: map ?? Array(0..<experts))
    }
    let errors = try OutputError.relative(
      inputs: rows.map { captured.gathering(rows: $0) } ?? captured, routings: routings,
      groups: local, pass: try expertPass(layer, isLast: true))
    return errors.map { $0.map { $0.numbered(in: rows) } }
  }

  // MARK: Continuing

  /// MoE layers that are done.
  package var doneLayers: Int { place }

  /// The records of each layer that an earlier run kept some of; the walk goes on after them.
  package func restore() throws(RegateError) -> [[ArrayContainer]] {
    guard let stage else { return [] }
    let records = try stage.restore()
    place =
      pass.map { pass in layers.count { $0.index < pass.layer } } ?? records.count
    if pass == nil {
      progress.skip(layers.prefix(place).reduce(0) { $0 + units($1) })
    }
    return records
  }

  /// What an earlier run found in all; nil where it did not come to the end.
  package var summary: String? { stage?.summary?.stringValue }

  /// Keeps `records` of the layer that was just finished; `prepare` runs before a state is saved.
  package func keep(
    _ records: [ResumeRecord], prepare: () throws(RegateError) -> Void = {}
  ) throws(RegateError) {
    let index = layers[place - 1].index
    try stage?.ended(layer: index, next: pass?.layer ?? index + 1, records, prepare: prepare)
  }

  /// Keeps what the walk found in all: nothing of it will be done again.
  package func keep(summary: String) throws(RegateError) {
    try stage?.finish(.string(summary))
  }

  /// Whether records are kept at all.
  package var keepsRecords: Bool { stage != nil }

  /// Does the work of `scores` without the layers that are left: what it takes is all that counts.
  package func tryScoring() throws(RegateError) {
    guard let pass else { return }
    pass.leaveOutRest()
    _ = try pass.scores()
  }

  /// The figures of each stream at all positions that count; empty on captures.
  package func scores(
    _ counted: PerplexityProtocol = .all
  ) throws(RegateError) -> [StreamScores] {
    guard let pass else { return [] }
    while pass.layer < pass.model.layerCount {
      try pass.attention()
      try pass.applyDense()
    }
    let scores = try pass.scores(counted)
    try model.checkpoint.requireUnchanged()
    return scores
  }
}

extension TokenSet {
  /// A forward pass in `streams` copies; rows that are `apart` do not touch a bit of the others.
  /// Its work is reported to `progress`.
  fileprivate func forwardPass(
    apart: [Int], streams: Int, threads: Int, label: String, progress: any ProgressSink
  ) throws(RegateError) -> ForwardPass {
    let seen = Locked((total: 0, completed: 0, skipped: 0))
    let count = tokens
    var isApart = [Bool](repeating: false, count: apart.isEmpty ? 0 : count)
    for row in apart { isApart[row] = true }
    return try ForwardPass(
      runnable.get(), sequences: sequences, streams: streams, threads: threads, apart: isApart
    ) { state in
      seen.withLock { seen in
        if seen.total != state.total {
          progress.begin(label, total: state.total, tokens: count)
          seen = (state.total, 0, 0)
        }
        progress.enter(state.stage)
        let skipped = state.skipped - seen.skipped
        if skipped > 0 { progress.skip(skipped) }
        progress.advance(state.completed - seen.completed - skipped)
        (seen.completed, seen.skipped) = (state.completed, state.skipped)
      }
    }
  }
}
