// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Forms
import Measures
import Routing

/// Load counted on captures, or on tokens that the model is run on, under the routers that the
/// checkpoint has, whatever their form.
package struct TrafficLoad: LoadSource {
  package let model: Model
  package let traffic: TrafficSample
  /// Whether the held-out tokens are counted apart.
  package let holdsOut: Bool
  package let threads: Int
  package let progress: any ProgressSink

  package func load(ranks: [Int]) throws(RegateError) -> ExpertLoad {
    let apart = holdsOut ? traffic.heldOutGroups.first ?? [] : []
    let walk = try LayerWalk(
      model, traffic.calibration, apart: apart, streams: 1, threads: threads, label: "Counting",
      units: { _ in 1 }, progress: progress)
    var layers: [LoadSummary] = []
    var runs: [[[Int]]] = []
    var heldOut: [[Int]] = []
    while let layer = try walk.next() {
      let all = walk.route(try model.router(of: layer).router, stream: 0)
      let counted = apart.isEmpty ? all : all.gathering(tokens: traffic.fittedRows)
      layers.append(LoadSummary(counted, experts: layer.rule.experts, ranks: ranks))
      runs.append(counted.runLoads(experts: layer.rule.experts))
      heldOut.append(all.gathering(tokens: apart).load(experts: layer.rule.experts))
      walk.advance(1)
      // What comes after the last router changes no load.
      guard layers.count < model.layout.layers.count else { break }
      _ = try walk.finish([all], maps: [nil])
    }
    progress.end()
    return ExpertLoad(
      layers: layers, runs: runs, source: traffic.calibration.description,
      tokens: traffic.tokens - apart.count,
      heldOut: apart.isEmpty ? nil : .init(load: heldOut, tokens: apart.count))
  }
}
