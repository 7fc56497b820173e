// SPDX-License-Identifier: Apache-2.0
//
// A fit file, version 4: a safetensors file that holds the new routers of a model, so that one fit
// serves the original and all its quantisations, in both containers.
//
// 1. `__metadata__`: `format` = regate.fit.v4, `family`, `encoder` and `similarity` (named as in a
//    checkpoint of the prototype form), `layers` (the numbers of the layers that it holds, with
//    commas), `unchanged` (those for which nothing was asked: they stay as they are), `origin`
//    (JSON: what the fit was asked for, and what held-out tokens say of the whole model) and, for
//    each layer i, `figures.{i}` (JSON: balance and agreement of each form); `part` (JSON) where it
//    holds some layers of a fit: see FitPart.swift; `sha256`: see FitDigest.swift.
// 2. For each MoE layer i, under `layers.{i}.`:
//    `sketch`               F32 [E,8]  random projections of the original gate's rows; binds the
//                                      fit to the gate whatever dtype stores it
//    `physical_to_logical`  I64 [P]    P = E, or less where experts are pruned
//    `encoder`              F32 [R,H], or [2R,H] with a log-variance half
//    `logical_prototypes`   F32 [E,R]
//    `logit_bias`, `selection_bias`  F32 [E],  `clone_bias`  F32 [P]
//    `token_bias`  F32 [E,R],  `clone_prototypes`  F32 [P,R]
//    and what LatentFormTensors lists for the form
//    `stock_gate`           F32 [P,H]  the stock form, for the architecture of `family`
//    `stock_logit_bias`     F32 [P]    where the architecture has a bias on its logits
//    `stock_bias`           F32 [P]    where the architecture has a selection bias
//    `official_...`         F32        the form of the official LPR code, where it was asked for:
//                                      `encoder` [2D,H], `keys` [E,D] and what LatentFormTensors
//                                      lists for a Gaussian encoder and cross-attention

package import Architectures
package import ByteStorage
import Checkpoints
import Fitting
import Forms
import Foundation
import OrderedCollections
import Resuming
import Routing
import Tensors

package enum FitFile {
  fileprivate static let formats = "regate.fit.v"
  static let format = formats + "\(RegateVersion.fitFile)"
  /// Before the names of the official form's tensors.
  static let official = "official_"
  /// Before a layer's number, in the metadata.
  static let figures = "figures."

  // MARK: Writing

  /// Writes `fit`.
  package static func write(_ fit: ModelFit, to claim: OutputClaim) throws(RegateError) {
    var tensors: [SafetensorsWriter.Tensor] = []
    for layer in fit.layers { tensors += try self.tensors(of: layer.fitted) }
    var metadata = try self.metadata(fit.layers)
    metadata["family"] = fit.family
    metadata["origin"] = try RecordedFigures.text(fit.origin)
    if let part = fit.part { metadata[FitPart.name] = try RecordedFigures.text(part) }
    metadata[FitDigest.key] = FitDigest.of(tensors, metadata: metadata)
    try SafetensorsWriter.write(tensors, metadata: metadata, to: claim)
  }

  /// What the container of `layers` says of them.
  static func metadata(
    _ layers: [ModelFit.Layer]
  ) throws(RegateError) -> OrderedDictionary<String, String> {
    let form = layers.first?.fitted.routers.prototype.form ?? .init()
    var metadata: OrderedDictionary<String, String> = [
      "format": format, "layers": numbers(layers.map(\.fitted.index)),
      "unchanged": numbers(layers.filter(\.fitted.isUnchanged).map(\.fitted.index)),
      "encoder": form.encoder.rawValue, "similarity": form.similarity.rawValue,
    ]
    for layer in layers {
      metadata[figures + String(layer.fitted.index)] = try RecordedFigures.text(layer.figures)
    }
    return metadata
  }

  /// Layers as the metadata names them.
  static func numbers(_ layers: [Int]) -> String {
    layers.map(String.init).joined(separator: ",")
  }

  /// The tensors of one layer.
  static func tensors(
    of layer: FittedLayer
  ) throws(RegateError) -> [SafetensorsWriter.Tensor] {
    let prefix = "layers.\(layer.index)."
    func floats(_ name: String, _ values: [Float], _ shape: [Int]) throws(RegateError)
      -> SafetensorsWriter.Tensor
    {
      SafetensorsWriter.Tensor(
        name: prefix + name, type: .f32, shape: shape,
        bytes: try TensorEncoder.encode(values, type: .f32))
    }
    let gate = prefix + PrototypeRouterFormat.encoder
    var tensors = try PrototypeRouterFormat.tensors(of: layer.routers.prototype, gate: gate)
      .filter { $0.name != gate }
    let encoder = LatentFormTensors.matrix(of: layer.routers.prototype.encoder)
    tensors.append(try floats("encoder", encoder.values, [encoder.rows, encoder.columns]))
    tensors.append(
      try floats("sketch", layer.sketch.values, [layer.sketch.rows, layer.sketch.columns]))
    if let stock = layer.routers.stock {
      tensors.append(
        try floats("stock_gate", stock.gate.values, [stock.gate.rows, stock.gate.columns]))
      if let bias = stock.logitBias {
        tensors.append(try floats("stock_logit_bias", bias, [bias.count]))
      }
      if let bias = stock.selectionBias {
        tensors.append(try floats("stock_bias", bias, [bias.count]))
      }
    }
    if let official = layer.routers.official {
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

  // MARK: Reading

  /// Whether the fit at `path` has layers beyond those of `model` itself, of multi-token
  /// prediction: then the model is to be opened with them.
  package static func includesMTP(_ path: String, for model: Model) throws(RegateError) -> Bool {
    let container = try ArrayContainer.openSafetensors(path)
    _ = try form(of: container)
    try requireWhole(container)
    // Layers of another family say nothing: `read` refuses the fit by its family.
    guard container.metadata["family"] == model.layout.family.name else { return false }
    return try layers(of: container).contains { $0 >= model.layout.layerCount }
  }

  /// Reads the fit at `path` for `model`, whose gates it must have been made for.
  package static func read(_ path: String, for model: Model) throws(RegateError) -> ModelFit {
    let container = try ArrayContainer.openSafetensors(path)
    _ = try form(of: container)
    try FitDigest.verify(container)
    try requireWhole(container)
    guard container.metadata["family"] == model.layout.family.name else {
      throw RegateError(
        .mismatch, file: path, subject: "family",
        "was fitted for \(container.metadata["family"] ?? "nothing"), but "
          + "\(model.checkpoint.path) is \(model.layout.family.name)",
        advice: "fit this model")
    }
    let held = Set(try layers(of: container))
    guard let missing = model.layout.layers.first(where: { !held.contains($0.index) }) else {
      let origin = try origin(of: container)
      var layers: [ModelFit.Layer] = []
      for layer in model.layout.layers {
        layers.append(
          try self.layer(layer, in: container, for: model, sets: origin.judgingSets.count))
      }
      try requirePruned(origin.budget.pruned ?? 0, layers, of: model, path: path)
      return ModelFit(
        layers, family: model.layout.family.name, origin: origin, phases: PhaseClock())
    }
    throw RegateError(
      .missing, file: path, subject: "layers.\(missing.index)",
      "the fit does not hold this layer of \(model.checkpoint.path)", advice: "fit the whole model")
  }

  /// Refuses layers that leave out another number of experts than was asked for.
  private static func requirePruned(
    _ count: Int, _ layers: [ModelFit.Layer], of model: Model, path: String
  ) throws(RegateError) {
    for (layer, fit) in zip(model.layout.layers, layers) {
      let (found, expected) = (
        fit.fitted.routers.physicalToLogical.count, layer.rule.experts - count
      )
      guard found != expected else { continue }
      throw RegateError(
        .malformed, file: path, subject: "layers.\(layer.index).physical_to_logical",
        "names \(found) experts, expected \(expected): its origin says that \(count) are pruned",
        advice: "make the fit anew")
    }
  }

  /// Reads one layer, whose figures are of so many sets; nil: of however many.
  static func layer(
    _ layer: MoELayer, in container: ArrayContainer, for model: Model, sets: Int? = nil
  ) throws(RegateError) -> ModelFit.Layer {
    let fitted = try FitLayerReader(
      container: container, layer: layer, form: try form(of: container)
    ).read(model)
    return ModelFit.Layer(
      fitted: fitted, figures: try figures(of: layer.index, in: container, sets: sets))
  }

  /// What the metadata of `container` says of a layer, on so many sets.
  static func figures(
    of layer: Int, in container: ArrayContainer, sets: Int?
  ) throws(RegateError) -> LayerFigures {
    let key = figures + String(layer)
    let figures: LayerFigures = try RecordedFigures.value(
      of: key, in: container.metadata, path: container.path)
    guard figures.sets.count == sets ?? figures.sets.count else {
      throw RegateError(
        .malformed, file: container.path, subject: key,
        "is of \(figures.sets.count) sets of tokens, but the origin names \(sets ?? 0)",
        advice: "make the fit anew")
    }
    return figures
  }

  /// How the fit in `container` came to be.
  static func origin(of container: ArrayContainer) throws(RegateError) -> FitOrigin {
    try RecordedFigures.value(of: "origin", in: container.metadata, path: container.path)
  }

  /// The form of the prototype routers in `container`.
  static func form(
    of container: ArrayContainer
  ) throws(RegateError) -> LatentForm {
    let advice = "give a file that `FitRun` of this version wrote"
    let found = container.metadata["format"]
    guard found == format else {
      throw RegateError(
        .mismatch, file: container.path, subject: "format",
        "is \(found ?? "missing"), expected \(format)", advice: advice)
    }
    let names = (container.metadata["encoder"], container.metadata["similarity"])
    guard let encoder = names.0.flatMap(EncoderKind.init),
      let similarity = names.1.flatMap(SimilarityKind.init)
    else {
      throw RegateError(
        .unsupported, file: container.path, subject: "encoder, similarity",
        "are \(names.0 ?? "missing") and \(names.1 ?? "missing"), which this version does not know",
        advice: advice)
    }
    return LatentForm(encoder: encoder, similarity: similarity)
  }

  /// The layers that `container` holds.
  static func layers(of container: ArrayContainer) throws(RegateError) -> [Int] {
    let layers = try numbers(of: container, named: "layers")
    guard layers.isEmpty else { return layers }
    throw RegateError(
      .malformed, file: container.path, subject: "layers", "names none",
      advice: "make the fit anew")
  }

  /// The layers that the metadata of `container` has under `name`.
  static func numbers(
    of container: ArrayContainer, named name: String
  ) throws(RegateError) -> [Int] {
    let words = container.metadata[name]?.split(separator: ",")
    let numbers = words?.compactMap { Int($0) }
    guard let numbers, numbers.count == words?.count else {
      throw RegateError(
        .malformed, file: container.path, subject: name,
        "is \(container.metadata[name] ?? "missing"), expected numbers with commas",
        advice: "make the fit anew")
    }
    return numbers
  }
}

extension OutputKind {
  /// A fit file, of any version.
  package static let fit = OutputKind(file: "fit file") { path in
    let format = (try? SafetensorsFile(path: path))?.metadata?["format"]
    return format?.hasPrefix(FitFile.formats) ?? false
  }
}
