// SPDX-License-Identifier: Apache-2.0

package import Architectures
package import ByteStorage
import Checkpoints
import Measures
import Routing

/// Exact expert load from llama.cpp's importance matrix, checked against the model.
package struct ImatrixLoad: LoadSource, Sendable {
  private let file: ImatrixFile
  private let layers: [Int]
  /// Tokens that were counted.
  package let tokens: Int

  package init(path: String, layout: ModelLayout) throws(RegateError) {
    file = try ImatrixFile(path: path)
    guard let first = layout.layers.first else {
      throw RegateError(.mismatch, file: path, "the checkpoint has no MoE layer")
    }
    layers = layout.layers.map(\.index)
    tokens = try file.tokens(topK: first.rule.topK)
    for layer in layout.layers { try Self.check(try file.layer(layer.index), layer, path) }
    // Layers of multi-token prediction may be left out of the checkpoint's, not of the counts.
    let known = Set(layers + layout.extraRouters.compactMap(\.index))
    if let other = file.layers.first(where: { !known.contains($0.index) }) {
      throw Self.foreign(
        path, layer: other.index,
        "counts the experts of a layer that has none in the checkpoint")
    }
  }

  private static func check(
    _ found: ImatrixFile.Layer, _ layer: MoELayer, _ path: String
  ) throws(RegateError) {
    for (what, number, expected) in [
      ("experts", found.counts.count, layer.rule.experts),
      ("inputs of each expert", found.hiddenSize, layer.hiddenSize),
      ("inputs of each expert's down projection", found.expertWidth, layer.expertWidth),
    ] {
      guard let number, number != expected else { continue }
      throw foreign(
        path, layer: layer.index,
        "is of a model with \(number) \(what), but the checkpoint has \(expected)")
    }
  }

  private static func foreign(_ path: String, layer: Int, _ problem: String) -> RegateError {
    RegateError(
      .mismatch, file: path, subject: "blk.\(layer)", problem,
      advice: "make the importance matrix from this very model")
  }

  package func load(ranks: [Int]) throws(RegateError) -> ExpertLoad {
    var loads: [LoadSummary] = []
    for layer in layers {
      loads.append(LoadSummary(load: try file.layer(layer).counts, ranks: ranks))
    }
    return ExpertLoad(layers: loads, source: "imatrix", tokens: tokens, heldOut: nil)
  }
}
