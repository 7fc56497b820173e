// SPDX-License-Identifier: Apache-2.0
//
// Original and patched model side by side. On tokens they run in one pass over the weights, and the
// patched stream's layers read what its own earlier layers gave them; on captures both routers read
// the original's inputs. The two checkpoints differ in routers and copies of experts only, so each
// expert is decoded once for both.

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Inference
import Measures
import ModelFitting
import Resuming
import Routing
import Tensors
import Traffic

struct Comparison {
  /// What was found.
  struct Outcome {
    let layers: [Validation.Layer]
    let quality: Validation.Quality?
    /// Of each set; empty where none are known.
    let likelihoods: [SetMeasure.Likelihood?]
  }

  private let pair: ModelPair
  private let maps: [ModelPair.ExpertMaps]
  private let traffic: TrafficSample
  /// All tokens as a server would mix them; empty where no ranks are asked for.
  private let served: [Int]
  private let request: Validation.Request
  private let progress: any ProgressSink

  init(
    _ pair: ModelPair, _ maps: [ModelPair.ExpertMaps], _ traffic: TrafficSample,
    _ request: Validation.Request, _ progress: any ProgressSink
  ) {
    self.pair = pair
    self.maps = maps
    self.traffic = traffic
    served = request.ranks.isEmpty ? [] : traffic.servedRows(of: traffic.parts)
    self.request = request
    self.progress = progress
  }

  func run() throws(RegateError) -> Outcome {
    let point = try resumePoint()
    let walk = try LayerWalk(
      pair.original, traffic.calibration, streams: 2, threads: request.threads,
      label: "Validating", units: { $0.rule.experts }, resume: point.map { ($0, "validate") },
      progress: progress)
    var layers: [Validation.Layer] = []
    for (layer, records) in zip(pair.layers, try walk.restore()) {
      for record in records {
        let saved: SavedLayer = try RecordedFigures.read(record)
        layers.append(Validation.Layer(saved, index: layer.0.index, ranks: request.ranks))
      }
    }
    while try walk.next() != nil {
      let layer = try compare(layers.count, walk)
      layers.append(layer)
      try walk.keep([try RecordedFigures.record(SavedLayer(layer))])
    }
    let counted = request.tokens.perplexity
    let scores = try walk.scores(counted)
    progress.end()
    point?.discard()
    return Outcome(
      layers: layers, quality: quality(scores, counted),
      likelihoods: counted == .all ? likelihoods(scores) : [])
  }

  /// Several validations of one checkpoint may run at once: the first keeps a state.
  private func resumePoint() throws(RegateError) -> ResumePoint? {
    guard traffic.calibration.isRun else { return nil }
    var key = try ResumeKey(
      "validate", checkpoint: pair.original.checkpoint, traffic: try traffic.digest())
    key["perplexity"] = request.tokens.perplexity.rawValue
    key["precision"] = traffic.calibration.precision
    // Of a layer that is done, only these batches are known.
    key["ranks"] = "\(request.ranks)"
    key["batches"] = "\(request.batches)"
    key["patched checkpoint"] = try ContentDigest.of(pair.patched.checkpoint)
    do throws(RegateError) {
      return try ResumePoint(
        beside: request.patched, key: key, options: request.resume, leftover: .leave,
        progress: progress)
    } catch {
      // A folder of models that is only to be read.
      guard error.code == .io, !request.resume.resumes else { throw error }
      progress.warn("the state of this run cannot be kept: \(error)")
      return nil
    }
  }

  /// The layer at hand, which is number `place` of the MoE layers.
  private func compare(_ place: Int, _ walk: LayerWalk) throws(RegateError) -> Validation.Layer {
    let (original, patched) = pair.layers[place]
    let map = maps[place]
    let before = try route(original, of: pair.original, walk, stream: 0)
    let after = try route(patched, of: pair.patched, walk, stream: 1)
    // A single set is all tokens: its error need not be measured twice.
    let groups = traffic.parts.count == 1 ? [] : traffic.parts.map(\.heldOut)
    let errors = try walk.finish(
      [before, after], maps: [map.original, map.patched], groups: [nil] + groups)
    return Validation.Layer(
      index: original.index,
      original: LoadSummary(
        before, experts: original.rule.experts, ranks: request.ranks),
      patched: LoadSummary(
        after, experts: patched.rule.experts, ranks: request.ranks),
      agreement: RoutingAgreement(
        original: before, originalMap: map.original, patched: after, patchedMap: map.patched),
      outputError: errors[0][1].overall, worstToken: worstToken(errors[0][1]),
      logicalExperts: Set(map.patched).count,
      sets: traffic.parts.enumerated().map { place, part in
        SetLoad(
          before, map: map.original, patched: after, patchedMap: map.patched,
          rows: part.heldOut, outputError: errors[groups.isEmpty ? 0 : place + 1][1].overall)
      }, rankBatches: rankBatches(before, of: original, after, of: patched))
  }

  private func rankBatches(
    _ before: Assignment, of original: MoELayer, _ after: Assignment, of patched: MoELayer
  ) -> [Validation.RankFigures] {
    guard !served.isEmpty else { return [] }
    let (before, after) = (before.gathering(tokens: served), after.gathering(tokens: served))
    return request.ranks.map {
      Validation.RankFigures(
        ranks: $0, sizes: request.batches, original: (before, original.rule.experts),
        patched: (after, patched.rule.experts))
    }
  }

  private func worstToken(_ error: RelativeError) -> Validation.TokenError? {
    guard let worst = error.worst, let place = traffic.place(ofHeldOut: worst.row) else {
      return nil
    }
    return Validation.TokenError(
      value: worst.value, set: place.set, sequence: place.sequence, position: place.position)
  }

  /// Where a checkpoint's own router sends the tokens of its stream. Weights that are no numbers
  /// are its doing, which later layers could not tell: the experts are the original's.
  private func route(
    _ layer: MoELayer, of model: Model, _ walk: LayerWalk, stream: Int
  ) throws(RegateError) -> Assignment {
    let assignment = walk.route(try model.router(of: layer).router, stream: stream)
    guard assignment.weights.allSatisfy(\.isFinite) else {
      throw RegateError(
        .malformed, file: model.checkpoint.path, subject: "the router of layer \(layer.index)",
        "gives NaN or infinite weights", advice: "check the checkpoint's router tensors")
    }
    return assignment
  }

  private func quality(
    _ scores: [StreamScores], _ counted: PerplexityProtocol
  ) -> Validation.Quality? {
    guard scores.count == 2 else { return nil }
    return Validation.Quality(
      original: .init(nll: scores[0].meanNLL, perplexity: scores[0].perplexity),
      patched: .init(nll: scores[1].meanNLL, perplexity: scores[1].perplexity),
      divergence: scores[1].meanDivergence, topAgreement: scores[1].topAgreement,
      perplexityProtocol: counted, positions: scores[0].nll.count)
  }

  private func likelihoods(_ scores: [StreamScores]) -> [SetMeasure.Likelihood?] {
    guard scores.count == 2, case .tokens(let set) = traffic.calibration else { return [] }
    let lengths = set.sequences.map(\.count)
    return traffic.parts.map {
      SetMeasure.Likelihood(
        lengths: lengths, sequences: $0.heldOutSequences, original: scores[0],
        patched: scores[1])
    }
  }
}
