// SPDX-License-Identifier: Apache-2.0
//
// A fit file, version 1: a safetensors file that holds the new routers of a model, so that one fit
// serves the original and all its quantisations, in both containers.
//
// 1. `__metadata__`: `format` = regate.fit.v1, `family`, `figures` (JSON: options and held-out
//    figures of the fit, for people).
// 2. For each MoE layer i, under `layers.{i}.`:
//    `sketch`               F32 [E,8]  random projections of the original gate's rows; binds the
//                                      fit to the gate whatever dtype stores it
//    `slot_function`        I64 [E]
//    `encoder`              F32 [R,H]
//    `function_prototypes`  F32 [E,R]
//    `function_bias`, `function_potentials`, `slot_potentials`  F32 [E]
//    `slot_prototypes`      F32 [E,R]
//    `stock_gate`           F32 [E,H]  the stock form, for the architecture of `family`
//    `stock_bias`           F32 [E]    where the architecture has a selection bias

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors

/// The fitted routers of one layer, in both forms.
struct FittedLayer: Sendable {
  let index: Int
  /// Sketch of the original gate.
  let sketch: Matrix
  let native: PrototypeRouter
  /// Gate [E,H] and selection bias [E] of the stock form; nil if it was not fitted.
  let stock: FamilyRouter?

  var slotFunction: [Int] { native.slotFunction }
}

enum FitFile {
  static let format = "regate.fit.v\(RegateVersion.fitFile)"

  /// Writes `layers` to `path`.
  static func write(
    _ layers: [FittedLayer], family: String, figures: JSONValue, to path: String, overwrite: Bool
  ) throws(RegateError) {
    var tensors: [NativeTensor] = []
    for layer in layers { tensors += try encoded(layer) }
    try SafetensorsWriter.write(
      tensors.map {
        SafetensorsWriter.Tensor(name: $0.name, type: $0.type, shape: $0.shape, bytes: $0.bytes)
      },
      metadata: [
        "format": format, "family": family,
        "figures": String(decoding: figures.serialised(.compact), as: UTF8.self),
      ], to: path, overwrite: overwrite)
  }

  private static func encoded(_ layer: FittedLayer) throws(RegateError) -> [NativeTensor] {
    let prefix = "layers.\(layer.index)."
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> NativeTensor
    {
      NativeTensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    let gate = prefix + NativeRouterFormat.encoder
    var tensors = try NativeRouterFormat.tensors(of: layer.native, gate: gate)
      .filter { $0.name != gate }
    let encoder = try layer.native.linearEncoder
    tensors.append(try floats("encoder", encoder.values, [encoder.rows, encoder.columns]))
    tensors.append(
      try floats("sketch", layer.sketch.values, [layer.sketch.rows, layer.sketch.columns]))
    if let stock = layer.stock {
      tensors.append(
        try floats("stock_gate", stock.gate.values, [stock.gate.rows, stock.gate.columns]))
      if let bias = stock.selectionBias {
        tensors.append(try floats("stock_bias", bias, [bias.count]))
      }
    }
    return tensors
  }

  /// Reads the fit at `path` for `model`, whose gates it must have been made for.
  static func read(_ path: String, for model: Model) throws(RegateError) -> [FittedLayer] {
    let container = try ArrayContainer.openSafetensors(path)
    guard container.metadata["format"] == format else {
      throw RegateError(
        .mismatch, file: path, subject: "format",
        "is \(container.metadata["format"] ?? "missing"), expected \(format)",
        advice: "give a file that --save-fit of this version wrote")
    }
    guard container.metadata["family"] == model.layout.family.name else {
      throw RegateError(
        .mismatch, file: path, subject: "family",
        "was fitted for \(container.metadata["family"] ?? "nothing"), but "
          + "\(model.checkpoint.path) is \(model.layout.family.name)",
        advice: "fit this model")
    }
    var layers: [FittedLayer] = []
    for layer in model.layout.layers {
      layers.append(try LayerReader(container: container, layer: layer).read(model))
    }
    return layers
  }
}

/// Reads one layer of a fit file; every shape is checked.
private struct LayerReader {
  let container: ArrayContainer
  let layer: MoELayer

  private var experts: Int { layer.rule.experts }

  func read(_ model: Model) throws(RegateError) -> FittedLayer {
    let router = try layer.router(from: model.checkpoint)
    let sketch = try matrix("sketch", rows: experts, columns: GateFingerprint.sketchSize)
    guard GateFingerprint.agree(sketch, GateFingerprint.sketch(of: router.gate)) else {
      throw RegateError(
        .mismatch, file: container.path, subject: "layers.\(layer.index).sketch",
        "was fitted for other routers than those of \(model.checkpoint.path)",
        advice: "fit this checkpoint, or give the one that was fitted")
    }
    let encoder = try matrix("encoder", rows: nil, columns: layer.hiddenSize)
    let latent = encoder.rows
    let slotFunction = try self.slotFunction()
    let native = PrototypeRouter(
      encoder: .linear(encoder),
      functionPrototypes: try matrix("function_prototypes", rows: experts, columns: latent),
      functionBias: try vector("function_bias"),
      functionPotentials: try vector("function_potentials"), slotFunction: slotFunction,
      slotPrototypes: try matrix("slot_prototypes", rows: experts, columns: latent),
      slotPotentials: try vector("slot_potentials"), rule: layer.rule)
    return FittedLayer(
      index: layer.index, sketch: sketch, native: native, stock: try stock())
  }

  private func stock() throws(RegateError) -> FamilyRouter? {
    guard container.arrays[name("stock_gate")] != nil else { return nil }
    return FamilyRouter(
      gate: try matrix("stock_gate", rows: experts, columns: layer.hiddenSize),
      selectionBias: container.arrays[name("stock_bias")] == nil ? nil : try vector("stock_bias"),
      rule: layer.rule)
  }

  private func slotFunction() throws(RegateError) -> [Int] {
    let values = try container.array(name("slot_function")).integers()
    guard values.count == experts, values.allSatisfy({ (0..<experts).contains($0) }) else {
      throw RegateError(
        .malformed, file: container.path, subject: name("slot_function"),
        "must name one of \(experts) functions for each of \(experts) slots")
    }
    return values
  }

  private func name(_ tensor: String) -> String { "layers.\(layer.index).\(tensor)" }

  private func vector(_ tensor: String) throws(RegateError) -> [Float] {
    let array = try container.array(name(tensor))
    guard array.shape == [experts] else { throw wrongShape(array, "[\(experts)]") }
    return try array.floats(rows: 0..<experts)
  }

  private func matrix(_ tensor: String, rows: Int?, columns: Int) throws(RegateError) -> Matrix {
    let array = try container.array(name(tensor))
    guard array.shape.count == 2, array.shape[0] == rows ?? array.shape[0], array.shape[0] > 0,
      array.shape[1] == columns
    else {
      throw wrongShape(array, "[\(rows.map(String.init) ?? "latent size"), \(columns)]")
    }
    return Matrix(
      rows: array.shape[0], columns: columns, values: try array.floats(rows: 0..<array.shape[0]))
  }

  private func wrongShape(_ array: NumericArray, _ expected: String) -> RegateError {
    RegateError(
      .mismatch, file: container.path, subject: array.name,
      "has shape \(array.shape), expected \(expected)",
      advice: "the fit was made for another model, or is damaged")
  }
}
