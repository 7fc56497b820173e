// SPDX-License-Identifier: Apache-2.0

import Foundation
import RegateKit
import TestSupport
import Testing

/// New stock routers for a test, with values that are known beforehand.
struct StockGates {
  /// By MoE layer, [E,H] and [E].
  var gates: [[Float]] = []
  var biases: [[Float]?] = []

  /// Gates whose rows follow the functions in the slots, a little different for each slot.
  init(_ model: SyntheticModel, maps: [[Int]]) {
    for (layer, map) in zip(model.layers, maps) {
      var gate: [Float] = []
      for (slot, function) in map.enumerated() {
        for column in 0..<model.hidden {
          let nudge = column == slot ? SyntheticModel.gateStep : 0
          gate.append(layer.gate[function * model.hidden + column] + nudge)
        }
      }
      gates.append(gate)
      biases.append(layer.bias.map { _ in map.indices.map { Float($0) / 1024 + 1 / 4096 } })
    }
  }
}

extension Workbench {
  /// A fit of this model whose stock routers are `StockGates`, written by hand beside the native
  /// ones that were fitted. Returns the path and the gates.
  func stockFit() throws -> (path: String, stock: StockGates, maps: [[Int]]) {
    let native = directory.path("native.safetensors")
    try convert(to: nil) { $0.saveFit = native }
    let fit = try PlainCheckpoint(safetensors: URL(filePath: native))
    let maps = model.layers.map { layer in
      integers(fit.tensors["layers.\(layer.index).slot_function"]?.bytes ?? [])
    }
    let stock = StockGates(model, maps: maps)
    var tensors = fit.tensors.filter { !$0.key.contains(".stock_") }
      .map { ($0.key, $0.value.type, $0.value.shape, $0.value.bytes) }
    for (place, layer) in model.layers.enumerated() {
      tensors.append(
        (
          "layers.\(layer.index).stock_gate", "F32", [model.experts, model.hidden],
          PlainType.f32.bytes(stock.gates[place])
        ))
      if let bias = stock.biases[place] {
        tensors.append(
          ("layers.\(layer.index).stock_bias", "F32", [model.experts], PlainType.f32.bytes(bias)))
      }
    }
    let path = directory.path("stock.safetensors")
    let metadata = fit.metadata["native.safetensors"] ?? [:]
    try writeSafetensorsFile(tensors, metadata: metadata, to: path)
    return (path, stock, maps)
  }
}

/// Little-endian 64-bit integers.
func integers(_ bytes: [UInt8]) -> [Int] {
  stride(from: 0, to: bytes.count, by: 8).map { start in
    Int(truncatingIfNeeded: (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) })
  }
}

/// Writes a plain safetensors file.
func writeSafetensorsFile(
  _ tensors: [(name: String, type: String, shape: [Int], bytes: [UInt8])],
  metadata: [String: String], to path: String
) throws {
  var header: [String: Any] = ["__metadata__": metadata]
  var offset = 0
  for tensor in tensors {
    header[tensor.name] = [
      "dtype": tensor.type, "shape": tensor.shape,
      "data_offsets": [offset, offset + tensor.bytes.count],
    ]
    offset += tensor.bytes.count
  }
  let text = try JSONSerialization.data(withJSONObject: header, options: [.sortedKeys])
  let bytes = littleEndian(UInt64(text.count)) + [UInt8](text) + tensors.flatMap(\.bytes)
  try Data(bytes).write(to: URL(filePath: path))
}
