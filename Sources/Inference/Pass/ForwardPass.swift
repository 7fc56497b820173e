// SPDX-License-Identifier: Apache-2.0
//
// A model's forward pass, layer by layer over a whole set of sequences: each weight is decoded
// once, applied to all tokens of all streams, and dropped.
//
//   h = embed[token]                        [T,H] per stream
//   for each layer: h += Mix(Norm(h)); x = Norm(h); h += MoE(x) or MLP(x)
//                   or, in branched layers, LayerBranches.swift
//   logits = head · Norm(h)                 (ForwardPass+Head.swift)
//
// A model may have factors of h, of what is added to it, and of the logits (Multipliers.swift).
//
// Streams are copies of one token set that differ in how MoE layers route: stream 0 is the
// original. Until routings differ they share one set of hidden states.

package import Architectures
package import ByteStorage
import Checkpoints
package import Routing
package import Tensors

package final class ForwardPass {
  package let model: InferenceModel
  /// Number of streams.
  package let streams: Int
  /// Tokens per stream, T.
  package var tokenCount: Int { batch.count }
  /// The layer that comes next; `layerCount` when only the head is left.
  package internal(set) var layer = 0
  /// Whether the next layer's attention is done, so that its feed-forward part comes next.
  package internal(set) var isAfterAttention = false

  let batch: TokenBatch
  let threads: Int
  let progress: ProgressCounter
  private let ropes: RopeTables
  let memory: PassMemory
  /// [T,H]; one that all streams share, or one each.
  var hidden: [MatrixView] = []
  /// The second norm of `hidden`, of which there are as many, between attention and experts.
  private var inputs: [MatrixView] = []
  /// nil before the layer's attention, and for a dense one.
  package private(set) var experts: LayerExperts?
  /// Of this pass, which notes what is decoded where it began.
  private let reader: ExpertReader
  private let apart: [Bool]
  private let readAhead: LayerReadAhead

  /// Embeds `sequences`, which never see each other; empty ones are skipped. Tokens that are
  /// `apart` share no product of an expert with others: whatever they are, the others get the same
  /// to the bit (empty: no token is).
  package init(
    _ model: InferenceModel, sequences: [[Int]], streams: Int = 1, threads: Int,
    memory: PassMemory = PassMemory(), apart: [Bool] = [],
    progress: (@Sendable (ForwardProgress) -> Void)? = nil
  ) throws(RegateError) {
    precondition(streams > 0 && threads > 0)
    self.model = model
    self.streams = streams
    self.threads = threads
    self.memory = memory
    self.apart = apart
    batch = try TokenBatch(sequences, vocabularySize: model.vocabularySize)
    let work = batch.count * streams * (2 * model.layerCount + 1)
    self.progress = ProgressCounter(total: work, report: progress)
    ropes = RopeTables(positions: batch.longest)
    reader = try ExpertReader(model.checkpoint, layout: model.layout, as: model.precision)
    readAhead = LayerReadAhead(model)
    readAhead.want(layer: 0)
    hidden = [try embed()]
  }

  private func embed() throws(RegateError) -> MatrixView {
    let stored = try model.weights.matrix(
      model.embedding, rows: model.vocabularySize, columns: model.hiddenSize)
    let result = newStates()
    let batch = batch
    let factor = model.multipliers.embedding
    let outcomes = mapBlocks(
      count: batch.count, blockSize: GatedNetwork.blockTokens, threads: threads
    ) { _, rows -> Result<Void, RegateError> in
      Result { () throws(RegateError) in
        try stored.gather(batch.ids[rows], into: result[rows])
        if factor != 1 { result[rows].multiply(by: factor) }
      }
    }
    for outcome in outcomes { try outcome.get() }
    return result
  }

  /// Room for hidden states of one stream.
  func newStates() -> MatrixView {
    MatrixView(rows: tokenCount, columns: model.hiddenSize, inFileAbove: memory.hidden / streams)
  }

  /// Room for `rows` rows that are made of hidden states and used for a while.
  func newCopy(rows: Int) -> MatrixView {
    MatrixView(rows: rows, columns: model.hiddenSize, inFileAbove: memory.copies)
  }

  /// The MoE layer that comes next; nil where it is a dense one, or all layers are done.
  package var moeLayer: MoELayer? {
    guard layer < model.layerCount, case .experts(let experts) = model.layers[layer].feedForward
    else { return nil }
    return experts
  }

  private var stage: String { "layer \(layer + 1) of \(model.layerCount)" }

  // MARK: Steps

  /// Runs the next layer's attention for all streams.
  package func attention() throws(RegateError) {
    precondition(layer < model.layerCount && !isAfterAttention)
    progress.enter(stage)
    readAhead.want(layer: layer + 1)
    let norm = try model.norm(.mixerNorm, layer: layer)
    let outputNorm =
      model.isBranched ? try model.norm(.mixerOutputNorm, layer: layer) : nil
    let mixer = try model.layers[layer].mixer.load(
      layer: layer, from: model.weights, ropes: ropes, threads: threads)
    for stream in hidden {
      let stream = ResidualStream(
        hidden: stream, norm: norm, outputNorm: outputNorm, factor: model.multipliers.residual)
      guard mixer.run(stream, batch, threads: threads, progress: progress) else {
        throw notFinite(before: layer)
      }
    }
    isAfterAttention = true
    experts = moeLayer.map { LayerExperts($0, reader, memory: memory.experts) }
    try normalise()
  }

  private func normalise() throws(RegateError) {
    let norm = try model.feedForwardNorm(layer: layer, moeLayer)
    inputs = []
    for stream in hidden {
      let normalised = newCopy(rows: tokenCount)
      let outcomes = mapBlocks(
        count: tokenCount, blockSize: GatedNetwork.blockTokens, threads: threads
      ) { _, rows in
        norm.apply(stream[rows], into: normalised[rows])
      }
      guard outcomes.allSatisfy({ $0 }) else {
        throw notFinite(.attention(layer: layer))
      }
      inputs.append(normalised)
    }
  }

  func notFinite(_ place: NonFiniteSearch.Place) -> RegateError {
    NonFiniteSearch(model.checkpoint, layout: model.layout).error(at: place)
  }

  /// Of hidden states that `layer` reads.
  func notFinite(before layer: Int) -> RegateError {
    notFinite(
      layer == 0
        ? .embedding(model.embedding.weight.tensor, tokens: batch.ids) : .output(layer: layer - 1))
  }

  /// What the next layer's router reads in one stream, a copy of all [T,H] or of some rows; only
  /// after its attention.
  package func routerInputs(stream: Int, rows: Range<Int>? = nil) -> Matrix {
    precondition(isAfterAttention && stream >= 0 && stream < streams)
    return inputs[min(stream, inputs.count - 1)][rows ?? 0..<tokenCount].matrix
  }

  /// The mean squared norm, over rows of a stream, of what the next layer's feed-forward part will
  /// be added to, in units of what is added; only after its attention. Nil where what the
  /// experts give is normalised first, so that its own norm does not count.
  package func residualSquare(stream: Int, rows: [Int]) -> Double? {
    precondition(isAfterAttention && stream >= 0 && stream < streams && !rows.isEmpty)
    guard !model.isBranched else { return nil }
    let part = newCopy(rows: rows.count)
    part.gather(hidden[min(stream, hidden.count - 1)], rows: rows.map(Int32.init)[...])
    let factor = Double(model.multipliers.residual)
    return part.squaredNorms.reduce(0, +) / (factor * factor * Double(rows.count))
  }

  /// The router that the checkpoint itself has for the next layer.
  package func originalRouter() throws(RegateError) -> FamilyRouter {
    guard let moeLayer, !model.layout.hasPrototypeRouter else {
      throw RegateError(
        .unsupported, file: model.checkpoint.path, subject: "layer \(layer)",
        "has no router of the original family")
    }
    let (gate, gateBias, selectionBias) = try moeLayer.router(from: model.checkpoint)
    return FamilyRouter(
      gate: gate, logitBias: gateBias, selectionBias: selectionBias, rule: moeLayer.rule)
  }

  /// Where `router` sends the tokens of a stream; only after the next layer's attention.
  package func route(_ router: some Router, stream: Int) -> Assignment {
    var parts: [Assignment] = []
    for start in stride(from: 0, to: tokenCount, by: Self.blockRows) {
      let rows = start..<min(start + Self.blockRows, tokenCount)
      parts.append(router.route(routerInputs(stream: stream, rows: rows), threads: threads))
    }
    return Assignment(
      tokens: tokenCount, topK: parts[0].topK, experts: parts.flatMap(\.experts),
      weights: parts.flatMap(\.weights))
  }

  /// Runs the next layer, an MoE layer whose attention is done, with an assignment per stream.
  ///
  /// `maps[s][expert]` names the expert of the checkpoint that an expert of stream s stands for;
  /// nil: its own number. The result has for each of `groups` of tokens the errors of the routed
  /// experts' outputs against those of stream 0, by stream, over the rows that it names, or over
  /// all where it is nil.
  @discardableResult
  package func applyExperts(
    _ assignments: [Assignment], maps: [[Int]?]? = nil, errorsOn groups: [[Int]?] = []
  ) throws(RegateError) -> [[RelativeError]] {
    guard isAfterAttention, let experts else { preconditionFailure("no MoE layer is due") }
    let moeLayer = experts.layer
    precondition(assignments.count == streams && (maps?.count ?? streams) == streams)
    precondition(assignments.allSatisfy { $0.tokens == tokenCount })
    let identity = Array(0..<moeLayer.rule.experts)
    var assignments = assignments
    var maps = (0..<streams).map { maps?[$0] ?? identity }
    if hidden.count == 1, streams > 1 {
      let isShared = (1..<streams).allSatisfy {
        assignments[$0] == assignments[0] && maps[$0] == maps[0]
      }
      if isShared {
        (assignments, maps) = ([assignments[0]], [maps[0]])
      } else {
        separate()
      }
    }
    let rows = ExpertRows(
      assignments, maps: maps, experts: moeLayer.rule.experts, apart: apart)
    let pass = RoutedExperts(
      experts: experts, rows: rows, tokens: tokenCount, factor: model.multipliers.residual,
      threads: threads)
    let errors = try run(pass, errorsOn: hidden.count > 1 ? groups : [])
    if !moeLayer.shared.isEmpty, !model.isBranched {
      try GatedNetwork(shared: model, layer: layer, threads: threads)
        .run(inputs, addingTo: hidden, limit: memory.dense)
    }
    endLayer()
    guard hidden.count == 1 else { return errors }
    return groups.map { _ in [RelativeError](repeating: .none, count: streams) }
  }

  /// Gives every stream hidden states of its own.
  private func separate() {
    for _ in 1..<streams {
      let copy = newStates()
      copy.copy(hidden[0])
      hidden.append(copy)
    }
    inputs = [MatrixView](repeating: inputs[0], count: streams)
  }

  private func run(
    _ pass: RoutedExperts, errorsOn groups: [[Int]?]
  ) throws(RegateError) -> [[RelativeError]] {
    guard !groups.isEmpty || model.isBranched else {
      try pass.run(inputs, addingTo: hidden, progress: progress)
      return []
    }
    let outputs = hidden.map { newCopy(rows: $0.rows) }
    for output in outputs { output.fill(0) }
    try pass.run(inputs, addingTo: outputs, progress: progress)
    let norms = groups.isEmpty ? [] : outputs[0].squaredNorms
    let distances =
      groups.isEmpty ? [] : outputs.map { $0.squaredDistances(to: outputs[0]) }
    try add(outputs)
    return groups.map { rows in
      distances.map { RelativeError(distances: $0, norms: norms, rows: rows) }
    }
  }

  /// Adds what the experts gave to each stream, in branched layers with all that comes after them.
  private func add(_ outputs: [MatrixView]) throws(RegateError) {
    guard model.isBranched else {
      for (stream, output) in zip(hidden, outputs) { stream.add(output) }
      return
    }
    let branches = try LayerBranches(model, layer: layer, threads: threads)
    let results = newCopy(rows: tokenCount)
    let room = newCopy(rows: tokenCount)
    for (stream, output) in zip(hidden, outputs) {
      try branches.finish(
        stream, experts: output, inputs: room, results: results, limit: memory.dense)
    }
  }

  /// Runs the next layer, a dense one whose attention is done.
  package func applyDense() throws(RegateError) {
    precondition(isAfterAttention && moeLayer == nil)
    try GatedNetwork(dense: model, layer: layer, threads: threads)
      .run(inputs, addingTo: hidden, limit: memory.dense)
    progress.advance(tokenCount * hidden.count)
    endLayer()
  }

  private func endLayer() {
    inputs = []
    experts = nil
    readAhead.leave(layer: layer)
    layer += 1
    isAfterAttention = false
  }

  /// Runs the next layer as the checkpoint has it, all streams routed by its own router.
  package func advance() throws(RegateError) {
    if !isAfterAttention { try attention() }
    guard moeLayer != nil else { return try applyDense() }
    let router = try originalRouter()
    var assignments = inputs.indices.map { route(router, stream: $0) }
    while assignments.count < streams { assignments.append(assignments[0]) }
    try applyExperts(assignments)
  }

  /// Runs all layers that are left, as `advance` does.
  package func finish() throws(RegateError) {
    while layer < model.layerCount { try advance() }
  }
}
