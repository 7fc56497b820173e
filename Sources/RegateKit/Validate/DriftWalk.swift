// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Inference
import Measures
import Routing
import Traffic

/// Two models in step over the same tokens, each on its own states; on captures, both routers on
/// what the original's read.
struct DriftWalk {
  private let pair: ModelPair
  private let traffic: TrafficSample
  private let request: LoadDrift.Request
  private let progress: any ProgressSink

  init(
    _ pair: ModelPair, _ traffic: TrafficSample, _ request: LoadDrift.Request,
    _ progress: any ProgressSink
  ) {
    self.pair = pair
    self.traffic = traffic
    self.request = request
    self.progress = progress
  }

  func run() throws(RegateError) -> ([LoadDrift.Layer], LoadDrift.Likelihood?) {
    let first = try walk(pair.original, traffic.calibration, progress)
    // Its work is as much again, and goes on at the same pace: one of both is shown.
    let second = try walk(pair.patched, theirs(), NoProgress())
    var layers: [LoadDrift.Layer] = []
    while let layer = try first.next(), let other = try second.next() {
      layers.append(try compare(layer, first, other, second))
    }
    let counted = request.tokens.perplexity
    let scores = (try first.scores(counted), try second.scores(counted))
    progress.end()
    return (
      layers,
      scores.0.first.flatMap { original in
        scores.1.first.map { .init(original: original.meanNLL, other: $0.meanNLL) }
      }
    )
  }

  private func walk(
    _ model: Model, _ calibration: Calibration, _ progress: any ProgressSink
  ) throws(RegateError) -> LayerWalk {
    try LayerWalk(
      model, calibration, streams: 1, threads: request.threads, label: "Comparing",
      units: { _ in 1 }, progress: progress)
  }

  /// The traffic as the other model reads it. Other token ids would be another text.
  private func theirs() throws(RegateError) -> Calibration {
    guard case .tokens(let set) = traffic.calibration else { return traffic.calibration }
    let other = try TrafficSample(
      judging: request.calibration, for: pair.patched, options: request.tokens,
      progress: NoProgress())
    guard case .tokens(let found) = other.calibration, found.sequences == set.sequences else {
      throw RegateError(
        .mismatch, file: request.other, subject: "its tokenizer",
        "cuts the text into other tokens than the original's",
        advice: "give token ids as `calibration`")
    }
    return other.calibration
  }

  private func compare(
    _ layer: MoELayer, _ first: LayerWalk, _ other: MoELayer, _ second: LayerWalk
  ) throws(RegateError) -> LoadDrift.Layer {
    let before = first.route(try pair.original.router(of: layer).router, stream: 0)
    let after = second.route(try pair.patched.router(of: other).router, stream: 0)
    _ = try first.finish([before], maps: [nil])
    _ = try second.finish([after], maps: [nil])
    first.advance(1)
    let numbers = Array(0..<layer.rule.experts)
    return LoadDrift.Layer(
      index: layer.index,
      original: LoadSummary(before, experts: numbers.count, ranks: request.ranks),
      other: LoadSummary(after, experts: numbers.count, ranks: request.ranks),
      agreement: RoutingAgreement(
        original: before, originalMap: numbers, patched: after, patchedMap: numbers))
  }
}
