// SPDX-License-Identifier: Apache-2.0
//
// The experts of single tokens, as vLLM returns them (`--enable-return-routed-experts`): integer
// arrays [tokens, layers, K], of all of the model's layers or the MoE layers only.

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors

extension ExpertCounts {
  init(routedExperts container: ArrayContainer, layout: ModelLayout) throws(RegateError) {
    var experts = [[Int32]](repeating: [], count: layout.layers.count)
    for array in container.arrays.values {
      try Self.add(array, layout, to: &experts)
    }
    let routed = zip(experts, layout.layers).map { experts, layer in
      Assignment(
        tokens: experts.count / layer.rule.topK, topK: layer.rule.topK, experts: experts,
        weights: [Float](repeating: 0, count: experts.count))
    }
    self.init(
      path: container.path, source: "routed experts",
      load: zip(routed, layout.layers).map { $0.load(experts: $1.rule.experts) },
      tokens: routed[0].tokens, routed: routed)
  }

  private static func add(
    _ array: NumericArray, _ layout: ModelLayout, to experts: inout [[Int32]]
  ) throws(RegateError) {
    guard !array.isFloatingPoint, array.shape.count == 3 else {
      throw RegateError(
        .mismatch, file: array.path, subject: array.name,
        "holds \(array.type.rawValue) \(array.shape), expected integers [tokens, layers, experts "
          + "per token]",
        advice: "give the arrays that vLLM returns; captured activations go to `calibration`")
    }
    let (layers, topK) = (array.shape[1], array.shape[2])
    let places = try places(of: layers, in: layout, array.path, array.name)
    let values = try array.integers()
    for (number, layer) in layout.layers.enumerated() {
      guard topK == layer.rule.topK else {
        throw foreign(
          array.path, array.name,
          "has \(topK) experts per token, but the checkpoint has \(layer.rule.topK)")
      }
      for token in 0..<array.shape[0] {
        let start = (token * layers + places[number]) * topK
        for value in values[start..<start + topK] {
          guard 0..<layer.rule.experts ~= value else {
            throw foreign(
              array.path, array.name,
              "token \(token) has expert \(value) in layer \(layer.index), which has "
                + "\(layer.rule.experts)")
          }
          experts[number].append(Int32(value))
        }
        guard Set(values[start..<start + topK]).count == topK else {
          throw foreign(
            array.path, array.name,
            "token \(token) has an expert twice in layer \(layer.index)")
        }
      }
    }
  }
}
