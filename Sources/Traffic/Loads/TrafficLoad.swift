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
  package let calibration: Calibration
  package let threads: Int
  package let progress: any ProgressSink

  package func load(ranks: [Int]) throws(RegateError) -> ExpertLoad {
    let walk = try LayerWalk(
      model, calibration, streams: 1, threads: threads, label: "Counting", units: { _ in 1 },
      progress: progress)
    var layers: [LoadSummary] = []
    while let layer = try walk.next() {
      let assignment = walk.route(try model.router(of: layer).router, stream: 0)
      layers.append(
        LoadSummary(assignment, experts: layer.rule.experts, ranks: ranks))
      walk.advance(1)
      // What comes after the last router changes no load.
      guard layers.count < model.layout.layers.count else { break }
      _ = try walk.finish([assignment], maps: [nil])
    }
    progress.end()
    return ExpertLoad(layers: layers, source: calibration.description, tokens: calibration.tokens)
  }
}
