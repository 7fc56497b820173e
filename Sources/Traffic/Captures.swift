// SPDX-License-Identifier: Apache-2.0
//
// Captured router inputs, `layers.{i}.router_input` [T,H] in F32, F16 or BF16, as
// `tools/capture.py` writes them (safetensors), or the same names in an .npz file or a folder of
// .npy files. Parts of one capture are read in their order.

package import Architectures
package import ByteStorage
package import Checkpoints
import Measures
import OrderedCollections
package import Tensors

/// One or more captures, taken as one calibration set.
package struct Captures: Sendable {
  fileprivate static let formats = "regate.capture.v"
  package static let format = formats + "1"

  private let containers: [ArrayContainer]
  /// What tells the traffic of each container from that of others.
  let identities: [Identity]
  private let layers: [Int]
  /// What was given, in the order in which it is read.
  package let names: [String]
  /// Tokens of each lot of captures.
  package let tokensPerLot: [Int]
  /// T, over all captures.
  package var tokens: Int { tokensPerLot.reduce(0, +) }

  /// A capture, and the file or folder that was given for it.
  package typealias Given = (path: String, container: ArrayContainer)

  /// Checks one lot of captures against the model: parts, layers, hidden size, what they say of
  /// themselves, origin. Without `checkingGates`, headers and token ids are all that is read.
  package init(
    _ given: [Given], for model: Model, checkingGates: Bool = true, progress: any ProgressSink
  ) throws(RegateError) {
    let order = try CaptureParts.order(of: given.map(\.container))
    containers = order.map { given[$0].container }
    names = Captures.names(order.map { given[$0] })
    layers = model.layout.layers.map(\.index)
    var tokens = 0
    var identities: [Identity] = []
    for container in containers {
      let rows = try Captures.tokens(of: container, for: model)
      identities.append(try Captures.checkedIdentity(of: container, tokens: rows))
      tokens += rows
    }
    tokensPerLot = [tokens]
    self.identities = identities
    try CaptureParts.requireChoice(containers)
    try Captures.requireDistinct([self])
    if checkingGates { try requireOrigin(in: model, progress: progress) }
  }

  /// A folder of captures has one name.
  private static func names(_ given: [Given]) -> [String] {
    var seen: Set<String> = []
    return given.map(\.path).enumerated().filter { place, path in
      seen.insert(path).inserted || path == given[place].container.path
    }.map(\.element.lastPathComponent)
  }

  /// Several lots of captures of one model, one after the other, as one.
  package init(joining lots: [Captures]) {
    containers = lots.flatMap(\.containers)
    identities = lots.flatMap(\.identities)
    layers = lots.first?.layers ?? []
    names = lots.flatMap(\.names)
    tokensPerLot = lots.flatMap(\.tokensPerLot)
  }

  /// The files that hold the captures, in the order in which they are read.
  package func files() throws(RegateError) -> [MappedFile] {
    var files: [MappedFile] = []
    for container in containers { files += try Captures.files(of: container) }
    return files
  }

  static func files(of container: ArrayContainer) throws(RegateError) -> [MappedFile] {
    var files: [MappedFile] = []
    for path in Set(container.arrays.values.map(\.path)).sorted() {
      files.append(try MappedFile(path: path))
    }
    return files
  }

  /// Keys of the weights' identity in the metadata.
  package static let layoutKey = "weights_layout"
  package static let sampleKey = "weights_sample"
  /// What the model was run in, as PyTorch calls it.
  package static let precisionKey = "compute_dtype"

  package static func name(ofLayer index: Int) -> String { "layers.\(index).router_input" }

  /// The router inputs [T,H] of a layer, all captures one after the other; every value is finite.
  package func inputs(layer: Int) throws(RegateError) -> Matrix {
    var values: [Float] = []
    var columns = 0
    for container in containers {
      let array = try container.array(Captures.name(ofLayer: layer))
      columns = array.rowLength
      let rows = 0..<array.rowCount
      let part = try array.floats(rows: rows)
      try array.requireUnchanged()
      array.discard(rows: rows)
      if let bad = part.firstIndex(where: { !$0.isFinite }) {
        throw RegateError(
          .malformed, file: container.path, subject: array.name,
          "token \(bad / columns) has a value of \(part[bad])",
          advice: "capture again, in BF16 or F32 if the model overflows F16")
      }
      if containers.count == 1 { values = part } else { values += part }
    }
    return Matrix(rows: values.count / max(columns, 1), columns: columns, values: values)
  }

  /// The number of tokens of one capture, the same for every layer.
  private static func tokens(
    of container: ArrayContainer, for model: Model
  ) throws(RegateError) -> Int {
    let layout = model.layout
    var tokens: Int?
    for layer in layout.layers {
      let array = try container.array(name(ofLayer: layer.index))
      guard array.shape.count == 2, array.shape[1] == layout.hiddenSize else {
        throw RegateError(
          .mismatch, file: container.path, subject: array.name,
          "has shape \(array.shape), expected [tokens, \(layout.hiddenSize)]",
          advice: "give a capture of this very model")
      }
      guard array.shape[0] > 0, array.shape[0] == tokens ?? array.shape[0] else {
        throw RegateError(
          .mismatch, file: container.path, subject: array.name,
          "has \(array.shape[0]) tokens, expected \(tokens ?? 1)\(tokens == nil ? " or more" : "")",
          advice: "capture again: every layer must see the same tokens")
      }
      tokens = array.shape[0]
    }
    return tokens ?? 0
  }

  /// What the model was run in for the captures, as far as they say; nil where none does.
  package var precision: String? {
    let found = Set(containers.compactMap { $0.metadata[Captures.precisionKey] }).sorted()
    return found.isEmpty ? nil : found.joined(separator: " and ")
  }

  /// Says so where some were captured in another precision than the first.
  private func nameOtherPrecisions(_ progress: any ProgressSink) {
    let named = containers.compactMap { container in
      container.metadata[Captures.precisionKey].map { (container.path, $0) }
    }
    guard let (path, precision) = named.first,
      let other = named.first(where: { $0.1 != precision })
    else { return }
    progress.warn(
      "\(other.0) was captured in \(other.1), but \(path) in \(precision): routers choose a little "
        + "otherwise in another precision")
  }

  /// Captures that say which gates and weights they were made with must name this model's. Patched
  /// models are not looked at: what they are made from is captured.
  package func requireOrigin(
    in model: Model, progress: any ProgressSink
  ) throws(RegateError) {
    guard !model.layout.hasPrototypeRouter else { return }
    nameOtherPrecisions(progress)
    try requireGates(of: model)
    try requireWeights(of: model, progress: progress)
  }

  /// Gates of multi-token prediction do not count.
  private func requireGates(of model: Model) throws(RegateError) {
    let named = containers.compactMap { container in
      container.metadata["model_fingerprint"].map { (container.path, $0) }
    }
    guard !named.isEmpty else { return }
    let expected = try model.routerFingerprint()
    for (path, found) in named where found != expected {
      throw RegateError(
        .mismatch, file: path, subject: "model_fingerprint",
        "was captured from a model with other routers than \(model.checkpoint.path)",
        advice: "capture again from this checkpoint, or give the one that was captured")
    }
  }

  /// Routers that a fine-tune left alone do not tell it from its base: weights do, where both are
  /// stored in the same form.
  private func requireWeights(
    of model: Model, progress: any ProgressSink
  ) throws(RegateError) {
    let named = containers.filter { $0.metadata["model_fingerprint"] != nil }
    guard !named.isEmpty else { return }
    let expected = try WeightsIdentity(model.checkpoint)
    for container in named {
      let path = container.path
      let found = (container.metadata[Captures.layoutKey], container.metadata[Captures.sampleKey])
      guard let layout = found.0, let sample = found.1 else {
        progress.warn(
          "\(path) does not say which weights it was captured with, only that their routers are "
            + "those of \(model.checkpoint.path)")
        continue
      }
      guard layout == expected.layout else {
        progress.warn(
          "\(path) was captured with weights stored in another form than those of "
            + "\(model.checkpoint.path): it is right for a quantisation or a copy of the same model, "
            + "and wrong for a fine-tune that left the routers alone")
        continue
      }
      guard sample == expected.sample else {
        throw RegateError(
          .mismatch, file: path, subject: Captures.sampleKey,
          "was captured with other weights than those of \(model.checkpoint.path), though the "
            + "routers are the same: with those of its base model or of a fine-tune",
          advice: "capture again from this checkpoint, or give the one that was captured")
      }
    }
  }
}

extension OutputKind {
  /// A capture, of any version.
  package static let capture = OutputKind(file: "capture") { path in
    let format = (try? SafetensorsFile(path: path))?.metadata?["format"]
    return format?.hasPrefix(Captures.formats) ?? false
  }
}
