// SPDX-License-Identifier: Apache-2.0
//
// A router whose load is even already is no case for a new one: convert leaves it, and says so.

import Checkpoints
import RegateKit
import TestSupport
import Testing

/// Router inputs [T,H] that send token t to the K experts from t*K on, in turns.
private func evenInputs(_ model: SyntheticModel, _ layer: SyntheticModel.Layer) -> [Float] {
  (0..<model.tokens).flatMap { token in
    (0..<model.hidden).map { column in
      (0..<model.topK).reduce(Float(0)) { sum, place in
        let expert = (token * model.topK + place) % model.experts
        return sum + 16 * layer.gate[expert * model.hidden + column]
      }
    }
  }
}

@Test(arguments: [false, true])
func `layers whose load is even are left alone, and named`(_ even: Bool) throws {
  let bench = try Workbench(Sample.qwen3F32)
  var model = bench.model
  if even {
    for place in model.layers.indices {
      model.layers[place].inputs = evenInputs(model, model.layers[place])
    }
  }
  let capture = try model.writeCapture(to: bench.directory.url, name: "traffic")
  let result = try bench.convert(to: "out") { $0.sets.files = [capture] }

  let layers = try #require(result.json["layers"]?.arrayValue)
  #expect(layers.count == model.layers.count)
  var names: [String] = []
  for layer in layers {
    let before = try #require(layer["original_held_out"]?["gini"]?.doubleValue)
    let after = try #require(layer["held_out"]?["gini"]?.doubleValue)
    #expect(even ? before < 0.2 : before > 0.3)
    if before <= after { names.append("\(try #require(layer["index"]?.intValue))") }
  }
  #expect(names.isEmpty != even)
  // Those that chance makes uneven are fitted, and gain nothing.
  let alone = (result.json["unchanged_layers"]?.arrayValue ?? []).compactMap(\.intValue)
    .map(String.init)
  #expect(alone.isEmpty != even && Set(alone).isSubset(of: names))
  func list(_ names: [String]) -> String { "Layers \(names.joined(separator: ", ")): " }
  #expect(result.text.contains(list(alone) + "left alone.") == even)
  let fitted = names.filter { !alone.contains($0) }
  #expect(
    result.text.contains(list(fitted) + "on the held-out tokens the original is as balanced")
      == !fitted.isEmpty)
}
