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

  /// Gates whose rows follow the logical experts, a little different for each physical one.
  init(_ model: SyntheticModel, maps: [[Int]]) {
    for (layer, map) in zip(model.layers, maps) {
      var gate: [Float] = []
      for (physical, logical) in map.enumerated() {
        for column in 0..<model.hidden {
          let nudge = column == physical ? SyntheticModel.gateStep : 0
          gate.append(layer.gate[logical * model.hidden + column] + nudge)
        }
      }
      gates.append(gate)
      biases.append(layer.bias.map { _ in map.indices.map { Float($0) / 1024 + 1 / 4096 } })
    }
  }
}

/// A tensor of a fit file.
typealias FitTensor = (name: String, type: String, shape: [Int], bytes: [UInt8])

/// Fit files put together by hand from prototype routers that were read out of converted models, by
/// the layout that the format documents. A fit of the stock form would train it each time.
struct HandmadeFit {
  /// The prototype routers.
  let tensors: [FitTensor]
  /// What the fit says of itself.
  let metadata: [String: String]
  /// Which logical expert each physical one holds, by MoE layer.
  let maps: [[Int]]

  private static let made = Shared<HandmadeFit>()

  /// The prototype part of the fit of `model`, fitted once in a test run.
  static func prototype(_ model: SyntheticModel, seed: UInt64) throws -> HandmadeFit {
    try made.value("\(model.family) \(seed) \(model.hidden) \(model.tokens)") { try fit(model) }
  }

  private static func fit(_ model: SyntheticModel) throws -> HandmadeFit {
    let directory = try TemporaryDirectory()
    try model.writeSafetensors(.init(.single), to: directory.url.appending(path: "source"))
    let capture = try model.writeCapture(to: directory.url)
    var draft = ConversionDraft(
      directory.path("source"), calibration: [capture], to: directory.path("out"))
    draft.form = .lpr
    let fit = try draft.run().fit
    try fit.write(to: directory.path("fit.safetensors"))
    let weights = try PlainCheckpoint(safetensors: directory.url.appending(path: "out"))
    var tensors: [FitTensor] = []
    for layer in model.layers {
      let prefix = "layers.\(layer.index)."
      tensors.append(
        (prefix + "sketch", "F32", [model.experts, 8], PlainType.f32.bytes(sketch(layer, model))))
      for (name, tensor) in weights.tensors where model.part(name) == .router(layer: layer.index) {
        let last = String(name.split(separator: ".").last ?? "")
        if last == "weight" {
          tensors.append(
            (prefix + "encoder", "F32", tensor.shape.reversed(), transposed(tensor)))
        } else {
          tensors.append((prefix + last, tensor.type, tensor.shape, tensor.bytes))
        }
      }
    }
    // Regate's own file holds the very same.
    let written = try PlainCheckpoint(safetensors: directory.url.appending(path: "fit.safetensors"))
    #expect(written.tensors.count == tensors.count)
    for (name, type, shape, bytes) in tensors {
      let other = written.tensors[name]
      #expect(other?.type == type && other?.shape == shape, "\(name)")
      // Sums of another order, in the sketch alone.
      #expect(other?.bytes == bytes || name.hasSuffix("sketch"), "\(name)")
    }
    return HandmadeFit(
      tensors: tensors, metadata: try #require(written.metadata["fit.safetensors"]),
      maps: model.layers.map { layer in
        let name = "layers.\(layer.index).physical_to_logical"
        return integers(tensors.first { $0.name == name }?.bytes ?? [])
      })
  }

  private static func transposed(_ tensor: PlainCheckpoint.Tensor) -> [UInt8] {
    let (rows, columns) = (tensor.shape[0], tensor.shape[1])
    var bytes: [UInt8] = []
    for column in 0..<columns {
      for row in 0..<rows {
        let start = 4 * (row * columns + column)
        bytes += tensor.bytes[start..<start + 4]
      }
    }
    return bytes
  }

  /// [E,8]: seven projections of each gate row on fixed signs, and its norm.
  private static func sketch(_ layer: SyntheticModel.Layer, _ model: SyntheticModel) -> [Float] {
    var random = SeededGenerator(seed: 0)
    let signs = (0..<7 * model.hidden).map { _ in random.next() >> 63 == 0 ? Float(1) : -1 }
    return (0..<model.experts).flatMap { expert in
      let row = layer.gate[expert * model.hidden..<(expert + 1) * model.hidden]
      let projections = (0..<7).map { number in
        zip(row, signs[number * model.hidden..<(number + 1) * model.hidden])
          .reduce(Float(0)) { $0 + $1.0 * $1.1 }
      }
      return projections + [row.reduce(Float(0)) { $0 + $1 * $1 }.squareRoot()]
    }
  }
}

/// A conversion whose routers were known beforehand.
struct KnownConversion {
  let conversion: Conversion
  let stock: StockGates
  let maps: [[Int]]
}

extension Workbench {
  /// A fit of this model whose stock routers are `StockGates`. Returns the path and the gates.
  func stockFit() throws -> (path: String, stock: StockGates, maps: [[Int]]) {
    let fit = try HandmadeFit.prototype(model, seed: seed)
    let stock = StockGates(model, maps: fit.maps)
    var tensors = fit.tensors
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
    let path = directory.path("known.fit")
    try writeFitFile(tensors, metadata: fit.metadata, to: path)
    return (path, stock, fit.maps)
  }

  /// Converts with the fit of `stockFit`, to a copy called `name` or to what `change` says.
  func convertKnown(
    to name: String?, form: RouterForm? = .stock,
    _ change: (inout ConversionDraft) -> Void = { _ in }
  ) throws -> KnownConversion {
    let fit = try stockFit()
    let conversion = try convert(to: name) {
      $0.fit = fit.path
      $0.form = form
      change(&$0)
    }
    return KnownConversion(conversion: conversion, stock: fit.stock, maps: fit.maps)
  }
}

/// Little-endian 64-bit integers.
func integers(_ bytes: [UInt8]) -> [Int] {
  stride(from: 0, to: bytes.count, by: 8).map { start in
    Int(
      truncatingIfNeeded: (0..<8).reduce(UInt64(0)) {
        $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1)
      })
  }
}

/// Writes a fit file with the digest of what it holds.
func writeFitFile(_ tensors: [FitTensor], metadata: [String: String], to path: String) throws {
  var metadata = metadata
  metadata["sha256"] = fitDigest(tensors: tensors, metadata: metadata)
  try writeSafetensorsFile(tensors, metadata: metadata, to: path)
}

/// Writes a plain safetensors file.
func writeSafetensorsFile(
  _ tensors: [FitTensor], metadata: [String: String], to path: String
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
