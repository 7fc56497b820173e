// SPDX-License-Identifier: Apache-2.0
//
// Parts of a fit, joined into the bytes that one run writes: on captures no layer's fit reads
// anything of another.

package import ByteStorage
import Checkpoints
import OrderedCollections
import Resuming
import Tensors

extension FitFile {
  /// A part that was opened and checked.
  private struct Part {
    let container: ArrayContainer
    let part: FitPart
    let layers: [Int]
  }

  /// Joins parts, in any order, into the fit file that one run writes, and returns its layers.
  package static func merge(
    _ paths: [String], to claim: OutputClaim
  ) throws(RegateError) -> [Int] {
    var parts: [Part] = []
    for path in paths { parts.append(try part(path)) }
    guard let first = parts.first else {
      throw RegateError(
        .missing, subject: "`merge`", "nothing was given",
        advice: "give the parts that a fit with `layers` wrote")
    }
    for part in parts.dropFirst() { try requireSame(part, first) }
    let holders = try holders(parts, of: first.part.layers)
    var tensors: [SafetensorsWriter.Tensor] = []
    var metadata: OrderedDictionary<String, String> = [
      "format": format, "layers": numbers(first.part.layers),
    ]
    var unchanged: Set<Int> = []
    for part in parts {
      unchanged.formUnion(try numbers(of: part.container, named: "unchanged"))
    }
    metadata["unchanged"] = numbers(first.part.layers.filter(unchanged.contains))
    for name in ["encoder", "similarity"] { metadata[name] = first.container.metadata[name] }
    for (layer, container) in zip(first.part.layers, holders) {
      metadata[figures + "\(layer)"] = container.metadata[figures + "\(layer)"]
      tensors += try self.tensors(of: layer, in: container)
    }
    for name in ["family", "origin"] { metadata[name] = first.container.metadata[name] }
    metadata[FitDigest.key] = FitDigest.of(tensors, metadata: metadata)
    try SafetensorsWriter.write(tensors, metadata: metadata, to: claim)
    return first.part.layers
  }

  /// Refuses what is a part of a fit where a whole one is needed.
  static func requireWhole(_ container: ArrayContainer) throws(RegateError) {
    guard container.metadata[FitPart.name] != nil else { return }
    throw RegateError(
      .refused, file: container.path,
      "is a part of a fit, with layers \(LayerPart.words(try layers(of: container)))",
      advice: "join all parts with `FitMerge`, and give what that writes")
  }

  private static func part(_ path: String) throws(RegateError) -> Part {
    let container = try ArrayContainer.openSafetensors(path)
    _ = try form(of: container)
    try FitDigest.verify(container)
    guard let text = container.metadata[FitPart.name] else {
      throw RegateError(
        .refused, file: path, "is a whole fit, and no part of one",
        advice: "give the parts that a fit with `layers` wrote")
    }
    let part: FitPart = try RecordedFigures.value(text, of: FitPart.name, path: path)
    let layers = try layers(of: container)
    guard !part.layers.isEmpty, Set(layers).isSubset(of: part.layers) else {
      throw RegateError(
        .malformed, file: path, subject: "layers",
        "are \(LayerPart.words(layers)), which the whole that it names does not have",
        advice: "make the part anew")
    }
    // Nothing reads them before the whole is used, when the parts may be gone.
    let sets = try origin(of: container).judgingSets.count
    for layer in layers { _ = try figures(of: layer, in: container, sets: sets) }
    return Part(container: container, part: part, layers: layers)
  }

  private static func requireSame(_ part: Part, _ first: Part) throws(RegateError) {
    let names = ["family", "origin", "encoder", "similarity"]
    let other = names.first { part.container.metadata[$0] != first.container.metadata[$0] }
    guard let difference = first.part.difference(from: part.part) ?? other.map({ "another \($0)" })
    else { return }
    throw RegateError(
      .mismatch, file: part.container.path, subject: FitPart.name,
      "is of another fit than \(first.container.path): \(difference)",
      advice: "fit all parts from the same checkpoint and traffic, with the same options")
  }

  /// The container of each of `layers`, every one of which must be in one part.
  private static func holders(
    _ parts: [Part], of layers: [Int]
  ) throws(RegateError) -> [ArrayContainer] {
    var holders: [Int: ArrayContainer] = [:]
    for part in parts {
      for layer in part.layers {
        guard let other = holders.updateValue(part.container, forKey: layer) else { continue }
        throw RegateError(
          .refused, file: part.container.path, subject: "layer \(layer)",
          "is in \(other.path) too", advice: "give each layer once")
      }
    }
    let missing = layers.filter { holders[$0] == nil }
    guard missing.isEmpty else {
      throw RegateError(
        .missing, file: parts[0].container.path, subject: "layers \(LayerPart.words(missing))",
        "are in none of the parts", advice: "fit them with `layers`, and give that part too")
    }
    return layers.compactMap { holders[$0] }
  }

  /// The tensors of a layer as they are stored.
  private static func tensors(
    of layer: Int, in container: ArrayContainer
  ) throws(RegateError) -> [SafetensorsWriter.Tensor] {
    var tensors: [SafetensorsWriter.Tensor] = []
    for array in container.arrays.values where array.name.hasPrefix("layers.\(layer).") {
      var bytes: [UInt8] = []
      try array.withBytes { bytes = [UInt8](copying: $0) }
      tensors.append(
        SafetensorsWriter.Tensor(
          name: array.name, type: array.type, shape: array.shape, bytes: bytes))
    }
    return tensors
  }
}
