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

/// A tiny random model of `fixtures/variants` with its golden values
/// (`tools/fixtures/tiny_variants.py`).
struct Variant {
  static let names = [
    "deepseek-v2", "deepseek-v2-lite", "deepseek-v3-fp8", "dots1", "ernie", "gemma4",
    "glm4", "glm4-lite",
    "gguf-deepseek-v3-legacy", "gguf-deepseek-v3-split", "gguf-dots1", "gguf-ernie",
    "gguf-gemma4", "gguf-gpt-oss", "gguf-granite", "gguf-mixtral-llama3-tied", "gguf-phi",
    "gguf-qwen2-shared-gate", "gguf-qwen3-5", "gpt-oss", "granite", "minimax", "mistral4",
    "mixtral-llama3-tied", "mixtral-window", "olmoe", "phi", "qwen2-shared-gate", "qwen3-5",
    "qwen3-fused-linear", "qwen3-next", "qwen3-yarn-dense",
  ]

  let model: InferenceModel
  let sequences: [[Int]]
  /// Of all tokens, sequence after sequence.
  let logits: Matrix
  let nll: Float

  static func folder(_ name: String) -> String {
    fixtures.appending(path: "variants/\(name)").path(percentEncoded: false)
  }

  /// The model in `folder`, in either container.
  static func model(in folder: String) throws -> InferenceModel {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    let checkpoint: any Checkpoint =
      if let file = names.filter({ $0.hasSuffix(".gguf") }).min() {
        try GGUFCheckpoint(path: folder + "/" + file)
      } else {
        try SafetensorsCheckpoint(path: folder + "/model.safetensors")
      }
    return try InferenceModel(checkpoint, layout: try ModelLayout.read(checkpoint))
  }

  init(_ name: String) throws {
    let folder = Self.folder(name)
    model = try Self.model(in: folder)
    let golden = try ArrayContainer.open(folder + "/golden.safetensors")
    let ids = try golden.array("token_ids").integers()
    var sequences: [[Int]] = []
    var start = 0
    for length in try golden.array("lengths").integers() {
      sequences.append(Array(ids[start..<start + length]))
      start += length
    }
    self.sequences = sequences
    let logits = try golden.array("logits")
    self.logits = Matrix(
      rows: logits.shape[0], columns: logits.shape[1],
      values: try logits.floats(rows: 0..<logits.shape[0]))
    nll = try golden.array("nll").floats(rows: 0..<1)[0]
  }

  /// A finished pass over the golden sequences.
  func pass(streams: Int = 1, threads: Int = 1) throws -> ForwardPass {
    let pass = try ForwardPass(model, sequences: sequences, streams: streams, threads: threads)
    try pass.finish()
    return pass
  }
}

extension Matrix {
  func largestDifference(to other: Matrix) -> Float {
    zip(values, other.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }
}

/// A copy of a variant's folder whose configuration or tensors were changed.
struct AlteredModel {
  let directory: TemporaryDirectory
  private let variant: String

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
struct AlteredGGUF {
  let directory: TemporaryDirectory
  private let variant: String

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
