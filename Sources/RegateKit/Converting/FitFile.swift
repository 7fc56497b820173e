// SPDX-License-Identifier: Apache-2.0
//
// A fit file, version 4: a safetensors file that holds the new routers of a model, so that one fit
// serves the original and all its quantisations, in both containers.
//
// 1. `__metadata__`: `format` = regate.fit.v4, `family`, `encoder` and `similarity` (named as in a
//    prototype checkpoint), `figures` (JSON: options and held-out figures of the fit, for people),
//    `unchanged` (numbers of the layers for which nothing was asked, with commas: they stay as they
//    are).
// 2. For each MoE layer i, under `layers.{i}.`:
//    `sketch`               F32 [E,8]  random projections of the original gate's rows; binds the
//                                      fit to the gate whatever dtype stores it
//    `physical_to_logical`        I64 [E]
//    `encoder`              F32 [R,H], or [2R,H] with a log-variance half
//    `logical_prototypes`  F32 [E,R]
//    `logit_bias`, `selection_bias`, `clone_bias`  F32 [E]
//    `token_bias`, `clone_prototypes`  F32 [E,R]
//    and what LatentFormTensors lists for the form
//    `stock_gate`           F32 [E,H]  the stock form, for the architecture of `family`
//    `stock_bias`           F32 [E]    where the architecture has a selection bias
//    `official_...`         F32        the form of the official LPR code, where it was asked for:
//                                      `encoder` [2D,H], `keys` [E,D] and what LatentFormTensors
//                                      lists for a Gaussian encoder and cross-attention

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
  let prototype: PrototypeRouter
  /// Gate [E,H] and selection bias [E] of the stock form; nil if it was not fitted.
  let stock: FamilyRouter?
  /// The router of the official LPR code; nil if it was not fitted.
  let official: PrototypeRouter?
  /// Nothing was asked for: not a byte of the layer changes, whatever the form.
  let isUnchanged: Bool

  var physicalToLogical: [Int] { prototype.physicalToLogical }
}

enum FitFile {
  private static let format = "regate.fit.v\(RegateVersion.fitFile)"
  /// Before the names of the official form's tensors.
  fileprivate static let official = "official_"

  /// Writes `layers` to `path`.
  static func write(
    _ layers: [FittedLayer], family: String, figures: JSONValue, to path: String, overwrite: Bool
  ) throws(RegateError) {
    var tensors: [SafetensorsWriter.Tensor] = []
    for layer in layers { tensors += try encoded(layer) }
    var metadata = self.metadata(layers)
    metadata["family"] = family
    metadata["figures"] = String(decoding: figures.serialised(.compact), as: UTF8.self)
    try SafetensorsWriter.write(
      tensors,
      metadata: metadata, to: path, overwrite: overwrite)
  }

  /// What the container of `layers` says of their form.
  static func metadata(_ layers: [FittedLayer]) -> OrderedDictionary<String, String> {
    let form = layers.first?.prototype.form ?? .init()
    let unchanged = layers.filter(\.isUnchanged).map { String($0.index) }
    return [
      "format": format, "unchanged": unchanged.joined(separator: ","),
      "encoder": form.encoder.rawValue, "similarity": form.similarity.rawValue,
    ]
  }

  /// The tensors of one layer.
  static func encoded(_ layer: FittedLayer) throws(RegateError) -> [SafetensorsWriter.Tensor] {
    let prefix = "layers.\(layer.index)."
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> SafetensorsWriter.Tensor
    {
      SafetensorsWriter.Tensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    let gate = prefix + PrototypeRouterFormat.encoder
    var tensors = try PrototypeRouterFormat.tensors(of: layer.prototype, gate: gate)
      .filter { $0.name != gate }
    let encoder = LatentFormTensors.matrix(of: layer.prototype.encoder)
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
    if let official = layer.official {
      let encoder = LatentFormTensors.matrix(of: official.encoder)
      let keys = official.logicalPrototypes
      for tensor in [
        ("encoder", encoder.values, [encoder.rows, encoder.columns]),
        ("keys", keys.values, [keys.rows, keys.columns]),
      ] + LatentFormTensors.added(by: official) {
        tensors.append(try floats(self.official + tensor.0, tensor.1, tensor.2))
      }
    }
    return tensors
  }

  /// Reads the fit at `path` for `model`, whose gates it must have been made for.
  static func read(_ path: String, for model: Model) throws(RegateError) -> [FittedLayer] {
    let container = try ArrayContainer.openSafetensors(path)
    let form = try form(of: container)
    guard container.metadata["family"] == model.layout.family.name else {
      throw RegateError(
        .mismatch, file: path, subject: "family",
        "was fitted for \(container.metadata["family"] ?? "nothing"), but "
          + "\(model.checkpoint.path) is \(model.layout.family.name)",
        advice: "fit this model")
    }
    var layers: [FittedLayer] = []
    for layer in model.layout.layers {
      layers.append(try LayerReader(container: container, layer: layer, form: form).read(model))
    }
    return layers
  }

  /// Reads what `encoded` made of one layer.
  static func layer(
    _ layer: MoELayer, in container: ArrayContainer, for model: Model
  ) throws(RegateError) -> FittedLayer {
    try LayerReader(container: container, layer: layer, form: try form(of: container)).read(model)
  }
}

extension FitFile {
  /// The form of the routers in `container`.
  private static func form(
    of container: ArrayContainer
  ) throws(RegateError) -> PrototypeRouter.LatentForm {
    let found = container.metadata["format"]
    guard found == format else {
      throw RegateError(
        .mismatch, file: container.path, subject: "format",
        "is \(found ?? "missing"), expected \(format)",
        advice: "give a file that --save-fit of this version wrote")
    }
    let names = (container.metadata["encoder"], container.metadata["similarity"])
    guard let encoder = names.0.flatMap(PrototypeRouter.EncoderKind.init),
      let similarity = names.1.flatMap(PrototypeRouter.Similarity.Kind.init)
    else {
      throw RegateError(
        .unsupported, file: container.path, subject: "encoder, similarity",
        "are \(names.0 ?? "missing") and \(names.1 ?? "missing"), which this version does not know",
        advice: "give a file that --save-fit of this version wrote")
    }
    return PrototypeRouter.LatentForm(encoder: encoder, similarity: similarity)
  }
}

/// Reads one layer of a fit file; every shape is checked.
private struct LayerReader: RouterTensorSource {
  let container: ArrayContainer
  let layer: MoELayer
  let form: PrototypeRouter.LatentForm

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
      clonePrototypes: try matrix("clone_prototypes", experts, latent),
      cloneBias: try vector("clone_bias"), rule: layer.rule)
    return FittedLayer(
      index: layer.index, sketch: sketch, prototype: prototype,
      stock: try stock(logitBias: router.gateBias), official: try official(),
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
    let reader: LayerReader

    func floats(_ name: String, shape: [Int]) throws(RegateError) -> [Float] {
      try reader.floats(FitFile.official + name, shape: shape)
    }
  }

  private var isUnchanged: Bool {
    container.metadata["unchanged"]?.split(separator: ",").contains("\(layer.index)") ?? false
  }

  private func stock(logitBias: [Float]?) throws(RegateError) -> FamilyRouter? {
    guard container.arrays[name("stock_gate")] != nil else { return nil }
    return FamilyRouter(
      gate: try matrix("stock_gate", experts, layer.hiddenSize),
      logitBias: logitBias,
      selectionBias: container.arrays[name("stock_bias")] == nil ? nil : try vector("stock_bias"),
      rule: layer.rule)
  }

  private func physicalToLogical() throws(RegateError) -> [Int] {
    let values = try container.array(name("physical_to_logical")).integers()
    guard values.count == experts, values.allSatisfy({ (0..<experts).contains($0) }) else {
      throw RegateError(
        .malformed, file: container.path, subject: name("physical_to_logical"),
        "must name one of \(experts) functions for each of \(experts) slots")
    }
    return values
  }

  private func name(_ tensor: String) -> String { "layers.\(layer.index).\(tensor)" }

  private func vector(_ tensor: String) throws(RegateError) -> [Float] {
    try floats(tensor, shape: [experts])
  }

  func floats(_ tensor: String, shape: [Int]) throws(RegateError) -> [Float] {
    let array = try container.array(name(tensor))
    guard array.shape == shape else { throw wrongShape(array, "\(shape)") }
    return try array.floats(rows: 0..<shape[0])
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
      advice: "the fit was made for another model, or is damaged")
  }
}
