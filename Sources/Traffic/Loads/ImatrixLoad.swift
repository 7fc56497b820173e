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
    for layer in layout.layers {
      let found = try file.layer(layer.index).counts.count
      guard found == layer.rule.experts else {
        throw RegateError(
          .mismatch, file: path, subject: "blk.\(layer.index)",
          "counts \(found) experts, but the checkpoint has \(layer.rule.experts)",
          advice: "make the importance matrix from this very model")
      }
    }
  }

  package func load(ranks: [Int]) throws(RegateError) -> ExpertLoad {
    var loads: [LoadSummary] = []
    for layer in layers {
      loads.append(LoadSummary(load: try file.layer(layer).counts, ranks: ranks))
    }
    return ExpertLoad(layers: loads, source: "imatrix", tokens: tokens)
  }
}
