// SPDX-License-Identifier: Apache-2.0
//
// Original and patched model side by side on the same tokens, in one pass over the weights: the
// patched stream's layers read what its own earlier layers gave them. The two checkpoints differ in
// routers and slots only, so each expert is decoded once for both.

import Architectures
import ByteStorage
import Checkpoints
import Inference
import OrderedCollections
import Routing
import Tensors

extension Validation {
  /// Runs both models on `tokens`.
  static func run(
    _ pair: ModelPair, _ maps: [ModelPair.FunctionMap], _ tokens: TokenSet, _ mix: CalibrationMix,
    _ request: Request, _ progress: any ProgressSink
  ) throws(RegateError) -> ([Layer], Quality, [SetMeasure.Likelihood]) {
    // Several validations of one checkpoint may run at once: the first keeps a state.
    let point = try ResumePoint(
      beside: request.patched, key: try key(pair, tokens, request), options: request.resume,
      leftover: .leave, progress: progress)
    let pass = try pair.original.forwardPass(
      tokens, streams: 2, threads: request.threads, label: "Validating", progress: progress)
    let stage = try ResumeStage(point, name: "validate", pass: pass)
    // A single set is all tokens: its error need not be measured twice.
    let groups = mix.parts.count == 1 ? [] : mix.parts.map { $0.measured.map(Int32.init) }
    var layers: [Layer] = []
    for (layer, records) in zip(pair.layers, try stage.restore()) {
      for record in records {
        let saved: SavedLayer = try ResumeRecord.figures(of: record)
        layers.append(Layer(saved, index: layer.0.index, ranks: request.ranks))
      }
    }
    while pass.layer < pair.original.layout.layerCount {
      try pass.attention()
      guard pass.moeLayer != nil else {
        try pass.applyDense()
        try stage.ended(layer: pass.layer - 1, next: pass.layer)
        continue
      }
      let (original, patched) = pair.layers[layers.count]
      let map = maps[layers.count]
      let before = pass.route(try pair.original.router(of: original).router, stream: 0)
      let after = pass.route(try pair.patched.router(of: patched).router, stream: 1)
      let errors = try pass.applyExperts(
        [before, after], functions: [map.original, map.patched], errorsOn: [nil] + groups)
      let experts = original.rule.experts
      let layer = Layer(
        index: original.index,
        original: LoadSummary(before, experts: experts, ranks: request.ranks),
        patched: LoadSummary(after, experts: experts, ranks: request.ranks),
        agreement: RoutingAgreement(
          original: before, originalMap: map.original, patched: after, patchedMap: map.patched),
        outputError: errors[0][1], functions: Set(map.patched).count,
        sets: mix.parts.enumerated().map { place, part in
          SetLoad(
            before, map: map.original, patched: after, patchedMap: map.patched,
            rows: part.measured, outputError: errors[groups.isEmpty ? 0 : place + 1][1])
        })
      layers.append(layer)
      try stage.ended(
        layer: layer.index, next: pass.layer, [try ResumeRecord(SavedLayer(layer))])
    }
    let counted = request.tokens.perplexity
    let scores = try pass.scores(counted)
    point.discard()
    return (
      layers,
      Quality(
        original: .init(nll: scores[0].meanNLL, perplexity: scores[0].perplexity),
        patched: .init(nll: scores[1].meanNLL, perplexity: scores[1].perplexity),
        divergence: scores[1].meanDivergence, topAgreement: scores[1].topAgreement,
        perplexityProtocol: counted, positions: scores[0].nll.count),
      counted == .all
        ? mix.parts.map {
          SetMeasure.Likelihood(
            tokens, sequences: $0.measuredSequences, original: scores[0], patched: scores[1])
        } : []
    )
  }

  private static func key(
    _ pair: ModelPair, _ tokens: TokenSet, _ request: Request
  ) throws(RegateError) -> ResumeKey {
    var key = try ResumeKey(
      "validate", checkpoint: pair.original.checkpoint, calibration: .tokens(tokens))
    key["--ppl-protocol"] = request.tokens.perplexity.rawValue
    key["patched checkpoint"] = ContentDigest.of(pair.patched.checkpoint)
    return key
  }
}

/// What a resumed validation keeps of a layer; the rest follows from it.
private struct SavedLayer: Codable {
  struct Load: Codable {
    let load: [Int]
    let batches: [Int]
    let batchValues: [Double?]

    init(_ summary: LoadSummary) {
      load = summary.load
      batches = summary.batchImbalance.map(\.tokens)
      batchValues = summary.batchImbalance.map(\.value)
    }

    func summary(_ ranks: [Int]) -> LoadSummary {
      LoadSummary(
        load: load, ranks: ranks,
        batches: zip(batches, batchValues).map { (tokens: $0, value: $1) })
    }
  }

  let original: Load
  let patched: Load
  let agreement: RoutingAgreement
  let outputError: Double?
  let functions: Int
  let sets: [SetLoad]

  init(_ layer: Validation.Layer) {
    original = Load(layer.original)
    patched = Load(layer.patched)
    agreement = layer.agreement
    outputError = layer.outputError
    functions = layer.functions
    sets = layer.sets
  }
}

extension Validation.Layer {
  fileprivate init(_ saved: SavedLayer, index: Int, ranks: [Int]) {
    self.init(
      index: index, original: saved.original.summary(ranks),
      patched: saved.patched.summary(ranks), agreement: saved.agreement,
      outputError: saved.outputError, functions: saved.functions, sets: saved.sets)
  }
}
