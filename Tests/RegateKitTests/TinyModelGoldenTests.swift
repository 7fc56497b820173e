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

/// The trained fixtures against what transformers computed with them in float32.
@Suite struct TinyModelGoldenTests {
  static let models = ["tiny-qwen3-moe", "tiny-mixtral", "tiny-deepseek"]

  private func path(_ name: String) -> String {
    fixtures.appending(path: name).path(percentEncoded: false)
  }

  private func floats(_ file: ArrayContainer, _ name: String) throws -> [Float] {
    let array = try file.array(name)
    return try array.floats(rows: 0..<array.rowCount)
  }

  @Test(arguments: models)
  func `chosen experts, weights and routed outputs are transformers'`(name: String) throws {
    let model = try Model.open(path(name))
    let reference = try ArrayContainer.open(path("\(name)-data/reference.safetensors"))
    let reader = try ExpertReader(model.checkpoint, layout: model.layout)
    for layer in model.layout.layers {
      let prefix = "layers.\(layer.index)."
      let values = try floats(reference, prefix + "router_input")
      let inputs = Matrix(
        rows: values.count / layer.hiddenSize, columns: layer.hiddenSize, values: values)
      let assignment = try model.router(of: layer).router.route(inputs, threads: 1)
      let indices = try reference.array(prefix + "indices").integers()
      let weights = try floats(reference, prefix + "weights")
      let expected = try floats(reference, prefix + "routed_output")
      var experts: [Int: Matrix] = [:]
      for expert in Set(indices) {
        experts[expert] = try reader.packed(of: expert, in: layer).apply(inputs, threads: 1)
      }
      let k = layer.rule.topK
      for token in 0..<inputs.rows {
        let range = token * k..<(token + 1) * k
        let found = Dictionary(
          uniqueKeysWithValues: zip(
            assignment.experts[range].map(Int.init), assignment.weights[range]))
        try #require(Set(found.keys) == Set(indices[range]), "layer \(layer.index) token \(token)")
        var output = [Float](repeating: 0, count: layer.hiddenSize)
        for (index, weight) in zip(indices[range], weights[range]) {
          #expect(abs((found[index] ?? .infinity) - weight) <= 1e-5)
          let row = try #require(experts[index]).row(token)
          for (column, value) in row.enumerated() { output[column] += weight * value }
        }
        let start = token * layer.hiddenSize
        for (column, value) in output.enumerated() {
          #expect(abs(value - expected[start + column]) <= 2e-4)
        }
      }
    }
  }

  @Test(arguments: models)
  func `load on the held-out capture is transformers' load`(name: String) throws {
    let inspection = try Inspection.run(
      Inspection.Request(
        checkpoint: path(name),
        load: .traffic([path("\(name)-data/heldout.capture.safetensors")], .init()), threads: 2))
    let reference = try JSONValue(contentsOf: path("\(name)-data/reference.json"))
    for layer in inspection.layers {
      let load = try #require(layer.load)
      let set = try #require(reference["sets"]?["heldout"]?["layers"]?[String(layer.index)])
      let expected = try #require(set["load"]?.arrayValue).compactMap(\.intValue)
      // The capture holds F16 inputs: a few assignments at near ties may differ.
      let moved = zip(load.load, expected).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
      #expect(Double(moved) <= 0.005 * Double(expected.reduce(0, +)))
    }
  }
}
