// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import CheckpointWriting
import Forms
import Routing

extension Model {
  /// The expert groups of each layer inside which a renumbering must stay: those of the family's
  /// own rule. A prototype router knows logical experts by number, wherever they lie.
  var movableGroups: [Int] {
    layout.layers.map { layout.hasPrototypeRouter ? 1 : $0.rule.groups?.count ?? 1 }
  }

  /// What changes where each layer's experts lie in the order of `orders` [layers][E]; layers that
  /// stay as they are have no patch.
  func patches(renumbering orders: [[Int]]) throws(RegateError) -> [LayerPatch] {
    var patches: [LayerPatch] = []
    for (layer, order) in zip(layout.layers, orders) where order != Array(order.indices) {
      patches.append(
        LayerPatch(
          renumbering: layer, by: order,
          router: try RouterTensors(
            renumbering: try rowsOfPhysicalExperts(layer), of: order.count, by: order,
            in: checkpoint)))
    }
    return patches
  }
}
