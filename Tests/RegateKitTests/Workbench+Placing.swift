// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import RegateKit
import Routing
import Tensors
import TestSupport
import Testing

extension Workbench {
  /// `physical_to_logical` of a renumbered output's manifest, per layer: the expert of the original
  /// in each place.
  func placements(_ name: String) throws -> [[Int]] { try claimedMaps(name) }

  /// Groups of the DeepSeek model fill the ranks of an even division.
  var ranks: [Int] { sample.family == .deepseek ? [2, 8] : [2, 4] }

  /// Renumbers the checkpoint, or an output of it, by the load of this sample's capture.
  @discardableResult
  func place(_ name: String = "source", to sink: Sink) throws -> PlacementRun {
    try PlacementRun.run(
      .init(
        checkpoint: name == "source" ? source : first(name), load: .traffic([capture], .init()),
        ranks: ranks, output: .checkpoint(sink), threads: 2))
  }

  @discardableResult
  func place(_ name: String = "source", to copy: String) throws -> PlacementRun {
    try place(name, to: .copy(to: output(copy)))
  }

  /// Rows of a router tensor.
  private func rows(_ tensor: PlainCheckpoint.Tensor) -> [[UInt8]] {
    let size = tensor.bytes.count / model.experts
    return (0..<model.experts).map { Array(tensor.bytes[$0 * size..<($0 + 1) * size]) }
  }

  /// Experts and router rows must be where `placements` says, and nothing else changed.
  func requirePlaced(_ name: String, _ placements: [[Int]]) throws {
    let (before, after) = (try weights(), try weights(name))
    #expect(Set(before.tensors.keys) == Set(after.tensors.keys))
    for (layer, placement) in zip(model.layers, placements) {
      #expect(placement.sorted() == Array(0..<model.experts))
      let (old, new) = (
        model.experts(of: layer.index, in: before), model.experts(of: layer.index, in: after)
      )
      #expect(new == placement.map { old[$0] })
      for (tensor, was) in before.tensors where model.part(tensor) == .router(layer: layer.index) {
        let now = try #require(after.tensors[tensor])
        #expect(now.type == was.type && now.shape == was.shape)
        #expect(rows(now) == placement.map { rows(was)[$0] })
      }
    }
    for (tensor, was) in before.tensors where model.part(tensor) == .other {
      #expect(after.tensors[tensor]?.bytes == was.bytes)
    }
  }
}
