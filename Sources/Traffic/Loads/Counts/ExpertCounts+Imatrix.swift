// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Routing

extension ExpertCounts {
  /// Exact counts from llama.cpp's importance matrix.
  init(imatrix path: String, layout: ModelLayout) throws(RegateError) {
    let file = try ImatrixFile(path: path)
    let tokens = try file.tokens(topK: layout.layers[0].rule.topK)
    var load: [[Int]] = []
    for layer in layout.layers {
      let found = try file.layer(layer.index)
      try Self.check(found, layer, path)
      load.append(found.counts)
    }
    // Layers of multi-token prediction, and those that choose by a table, are left out of the
    // checkpoint's, not of the counts.
    let known = Set(
      layout.layers.map(\.index) + layout.extraRouters.compactMap(\.index) + layout.tableLayers)
    if let other = file.layers.first(where: { !known.contains($0.index) }) {
      throw Self.foreign(
        path, "blk.\(other.index)",
        "counts the experts of a layer that has none in the checkpoint")
    }
    self.init(path: path, source: "imatrix", load: load, tokens: tokens)
  }

  private static func check(
    _ found: ImatrixFile.Layer, _ layer: MoELayer, _ path: String
  ) throws(RegateError) {
    for (what, number, expected) in [
      ("experts", found.counts.count, layer.rule.experts),
      ("inputs of each expert", found.hiddenSize, layer.expertInputs),
      ("inputs of each expert's down projection", found.expertWidth, layer.expertWidth),
    ] {
      guard let number, number != expected else { continue }
      throw foreign(
        path, "blk.\(layer.index)",
        "is of a model with \(number) \(what), but the checkpoint has \(expected)")
    }
  }
}
