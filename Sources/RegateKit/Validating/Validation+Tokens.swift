// SPDX-License-Identifier: Apache-2.0
//
// Original and patched model side by side on the same tokens, in one pass over the weights: the
// patched stream's layers read what its own earlier layers gave them. The two checkpoints differ in
// routers and slots only, so each expert is decoded once for both.

import Architectures
import ByteStorage
import Checkpoints
import Inference
import Routing
import Tensors

extension Validation {
  /// Runs both models on `tokens`.
  static func run(
    _ pair: ModelPair, _ maps: [ModelPair.FunctionMap], _ tokens: TokenSet, _ mix: CalibrationMix,
    _ request: Request, _ progress: any ProgressSink
  ) throws(RegateError) -> ([Layer], Quality, [SetMeasure.Likelihood]) {
    let pass = try pair.original.forwardPass(
      tokens, streams: 2, threads: request.threads, label: "Validating", progress: progress)
    // A single set is all tokens: its error need not be measured twice.
    let groups = mix.parts.count == 1 ? [] : mix.parts.map { $0.measured.map(Int32.init) }
    var layers: [Layer] = []
    while pass.layer < pair.original.layout.layerCount {
      try pass.attention()
      guard pass.moeLayer != nil else {
        try pass.applyDense()
        continue
      }
      let (original, patched) = pair.layers[layers.count]
      let map = maps[layers.count]
      let before = try pair.original.router(of: original).router
        .route(pass.routerInputs(stream: 0), threads: request.threads)
      let after = try pair.patched.router(of: patched).router
        .route(pass.routerInputs(stream: 1), threads: request.threads)
      let errors = try pass.applyExperts(
        [before, after], functions: [map.original, map.patched], errorsOn: [nil] + groups)
      let experts = original.rule.experts
      layers.append(
        Layer(
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
          }))
    }
    let scores = try pass.scores()
    return (
      layers,
      Quality(
        original: .init(nll: scores[0].meanNLL, perplexity: scores[0].perplexity),
        patched: .init(nll: scores[1].meanNLL, perplexity: scores[1].perplexity),
        divergence: scores[1].meanDivergence, topAgreement: scores[1].topAgreement),
      mix.parts.map {
        SetMeasure.Likelihood(
          tokens, sequences: $0.measuredSequences, original: scores[0], patched: scores[1])
      }
    )
  }
}
