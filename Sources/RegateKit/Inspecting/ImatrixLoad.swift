// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Routing

/// Exact expert load from llama.cpp's importance matrix, checked against the model.
struct ImatrixLoad: Sendable {
  private let file: ImatrixFile
  /// Tokens that were counted.
  let tokens: Int

  init(path: String, layout: ModelLayout) throws(RegateError) {
    file = try ImatrixFile(path: path)
    guard let first = layout.layers.first else {
      throw RegateError(.mismatch, file: path, "the checkpoint has no MoE layer")
    }
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

  func load(of layer: Int) throws(RegateError) -> [Int] { try file.layer(layer).counts }
}
