// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import Inference
import OrderedCollections
import Tensors
import TestSupport
import Testing

/// A copy of a variant in which something was changed.
protocol AlteredVariant {
  /// Where the copy lies.
  var directory: TemporaryDirectory { get }
  /// The name of what it was made from.
  var variant: String { get }
}

extension AlteredVariant {
  func model() throws -> InferenceModel { try Variant.model(in: directory.url.path) }

  /// What the model is refused with: once, when it is opened or run.
  func refusal() -> RegateError? {
    #expect(throws: RegateError.self) {
      let pass = try ForwardPass(
        try model(), sequences: try Variant(variant).sequences, threads: 1)
      try pass.finish()
      _ = try pass.scores()
    }
  }
}

/// A copy of a variant's folder whose configuration or tensors were changed.
struct AlteredModel: AlteredVariant {
  let directory: TemporaryDirectory
  let variant: String

  init(
    _ name: String, config alter: (inout [String: Any]) -> Void = { _ in },
    tensors change: (String, inout ElementType, inout [Int], inout [UInt8]) -> Bool = {
      _, _, _, _ in
      true
    }
  ) throws {
    directory = try TemporaryDirectory()
    variant = name
    let folder = Variant.folder(name)
    let data = try Data(contentsOf: URL(filePath: folder + "/config.json"))
    var config = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
    alter(&config)
    try directory.write([UInt8](JSONSerialization.data(withJSONObject: config)), to: "config.json")
    let checkpoint = try SafetensorsCheckpoint(path: folder + "/model.safetensors")
    var tensors: [SafetensorsWriter.Tensor] = []
    for (tensorName, tensor) in checkpoint.tensors {
      var (type, shape) = (tensor.type, tensor.shape)
      var bytes = try checkpoint.withBytes(of: tensor) { [UInt8](copying: $0) }
      guard change(tensorName, &type, &shape, &bytes) else { continue }
      tensors.append(.init(name: tensorName, type: type, shape: shape, bytes: bytes))
    }
    try SafetensorsWriter.write(tensors, to: .file(directory.path("model.safetensors")))
  }

  /// What a variant is refused with without a tensor, and where its last dimension is longer by 1.
  static func refusals(
    of variant: String, part: String
  ) throws -> (absent: RegateError?, misshapen: RegateError?) {
    let absent = try AlteredModel(variant, tensors: { name, _, _, _ in name != part })
    let misshapen = try AlteredModel(
      variant,
      tensors: { name, _, shape, bytes in
        if name == part {
          let value = bytes.count / shape.reduce(1, *)
          bytes += [UInt8](repeating: 0, count: value * shape.dropLast().reduce(1, *))
          shape[shape.count - 1] += 1
        }
        return true
      })
    return (absent.refusal(), misshapen.refusal())
  }
}

/// A copy of a variant's GGUF file whose metadata or tensors were changed.
struct AlteredGGUF: AlteredVariant {
  let directory: TemporaryDirectory
  let variant: String

  /// A tensor that `change` renames or reshapes has the bytes of the one in its place.
  init(_ name: String, _ change: (inout GGUFHeader) -> Void) throws {
    directory = try TemporaryDirectory()
    variant = name
    let source = try GGUFCheckpoint(path: Variant.folder(name) + "/model.gguf")
    var header = GGUFHeader(source.parts[0])
    let stored = header.tensors
    change(&header)
    let encoded = try header.encoded()
    var file = encoded.bytes
    for (place, range) in encoded.ranges.enumerated() {
      file += [UInt8](repeating: 0, count: range.lowerBound - file.count)
      let tensor = try #require(source.tensors[stored[place].name])
      let bytes = try source.withBytes(of: tensor) { [UInt8](copying: $0) }
      file += bytes.prefix(range.count)
      file += [UInt8](repeating: 0, count: max(0, range.count - bytes.count))
    }
    file += [UInt8](repeating: 0, count: max(0, encoded.fileBytes - file.count))
    try directory.write(file, to: "model.gguf")
  }
}
