// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Forms
import Measures
import OrderedCollections
import Routing
import Tensors

/// Reads one layer of a fit file; every shape is checked.
struct FitLayerReader: RouterTensorSource {
  let container: ArrayContainer
  let layer: MoELayer
  let form: LatentForm

  private var experts: Int { layer.rule.experts }

  func read(_ model: Model) throws(RegateError) -> FittedLayer {
    let router = try layer.router(from: model.checkpoint)
    let sketch = try matrix("sketch", experts, GateFingerprint.sketchSize)
    guard GateFingerprint.agree(sketch, GateFingerprint.sketch(of: router.gate)) else {
      throw RegateError(
        .mismatch, file: container.path, subject: "layers.\(layer.index).sketch",
        "was fitted for other routers than those of \(model.checkpoint.path)",
        advice: "fit this checkpoint, or give the one that was fitted")
    }
    let (weight, latent) = try encoder()
    let physicalToLogical = try self.physicalToLogical()
    let physicals = physicalToLogical.count
    let (similarity, scale) = try LatentFormTensors.similarity(
      form.similarity, experts: experts, latent: latent, from: self)
    let prototype = PrototypeRouter(
      encoder: try LatentFormTensors.encoder(form.encoder, weight: weight, from: self),
      similarity: similarity, similarityScale: scale,
      logicalPrototypes: try matrix("logical_prototypes", experts, latent),
      logitBias: try vector("logit_bias"),
      selectionBias: try vector("selection_bias"),
      tokenBias: try matrix("token_bias", experts, latent).unlessZero,
      physicalToLogical: physicalToLogical,
      clonePrototypes: try matrix("clone_prototypes", physicals, latent),
      cloneBias: try floats("clone_bias", shape: [physicals]), rule: layer.rule)
    return FittedLayer(
      index: layer.index, sketch: sketch,
      routers: FittedRouters(
        prototype: prototype, stock: try stock(physicals: physicals),
        official: try official()),
      isUnchanged: isUnchanged)
  }

  /// The official form; nil where it was not fitted.
  private func official() throws(RegateError) -> PrototypeRouter? {
    let source = Official(reader: self)
    guard let array = container.arrays[name(FitFile.official + "encoder")] else { return nil }
    guard array.shape.count == 2,
      let latent = LatentFormTensors.latentSize(.gaussian, outputs: array.shape[0])
    else { throw wrongShape(array, "[2 x latent size, \(layer.hiddenSize)]") }
    let weight = try source.matrix("encoder", array.shape[0], layer.hiddenSize)
    guard
      case .gaussian(let encoder) = try LatentFormTensors.encoder(
        .gaussian, weight: weight, from: source)
    else { return nil }
    return PrototypeRouter(
      prototypes: try source.matrix("keys", experts, latent), encoder: encoder,
      similarity: try LatentFormTensors.similarity(
        .crossAttention, experts: experts, latent: latent, from: source
      ).0, rule: layer.rule)
  }

  /// The official form's tensors by their names without what precedes them.
  private struct Official: RouterTensorSource {
    let reader: FitLayerReader

    func floats(_ name: String, shape: [Int]) throws(RegateError) -> [Float] {
      try reader.floats(FitFile.official + name, shape: shape)
    }
  }

  private var isUnchanged: Bool {
    container.metadata["unchanged"]?.split(separator: ",").contains("\(layer.index)") ?? false
  }

  private func stock(physicals: Int) throws(RegateError) -> FamilyRouter? {
    guard container.arrays[name("stock_gate")] != nil else { return nil }
    func bias(_ tensor: String) throws(RegateError) -> [Float]? {
      container.arrays[name(tensor)] == nil ? nil : try floats(tensor, shape: [physicals])
    }
    return FamilyRouter(
      gate: try matrix("stock_gate", physicals, layer.hiddenSize),
      logitBias: try bias("stock_logit_bias"), selectionBias: try bias("stock_bias"),
      rule: layer.rule.keeping(physicals))
  }

  private func physicalToLogical() throws(RegateError) -> [Int] {
    let name = name("physical_to_logical")
    return try RouterValues.checkedMap(
      container.array(name).integers(), rule: layer.rule, file: container.path, name: name)
  }

  private func name(_ tensor: String) -> String { "layers.\(layer.index).\(tensor)" }

  private func vector(_ tensor: String) throws(RegateError) -> [Float] {
    try floats(tensor, shape: [experts])
  }

  func floats(_ tensor: String, shape: [Int]) throws(RegateError) -> [Float] {
    let array = try container.array(name(tensor))
    guard array.shape == shape else { throw wrongShape(array, "\(shape)") }
    return try RouterValues.checked(
      array.floats(rows: 0..<shape[0]), file: container.path, name: array.name)
  }

  /// The encoder's matrix and the latent size R.
  private func encoder() throws(RegateError) -> (weight: Matrix, latent: Int) {
    let array = try container.array(name("encoder"))
    guard array.shape.count == 2, array.shape[1] == layer.hiddenSize,
      let latent = LatentFormTensors.latentSize(form.encoder, outputs: array.shape[0])
    else {
      throw wrongShape(
        array, "[\(form.encoder == .linear ? "R" : "2R"), \(layer.hiddenSize)], R the latent size")
    }
    return (try matrix("encoder", array.shape[0], layer.hiddenSize), latent)
  }

  private func wrongShape(_ array: NumericArray, _ expected: String) -> RegateError {
    RegateError(
      .mismatch, file: container.path, subject: array.name,
      "has shape \(array.shape), expected \(expected)",
      advice: "the fit was made for another model")
  }
}
