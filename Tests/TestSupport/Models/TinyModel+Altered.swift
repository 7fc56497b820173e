// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension TinyModel {
  /// One weight of a checkpoint that is altered.
  public struct Weight {
    public var shape: [Int]
    public var bytes: [UInt8]
  }

  /// Writes a copy of the checkpoint to `directory`. `config` and `tokenizer` alter the JSON files,
  /// `weight` a tensor by its name; nil leaves the tensor out.
  public func write(
    to directory: URL, config: (inout [String: Any]) -> Void = { _ in },
    tokenizer: (inout [String: Any]) -> Void = { _ in },
    weight: (String, Weight) -> Weight? = { $1 }
  ) throws {
    let source = URL(filePath: path)
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    func rewrite(_ name: String, _ change: (inout [String: Any]) -> Void) throws {
      let data = try Data(contentsOf: source.appending(path: name))
      var object = try JSONSerialization.jsonObject(with: data) as? [String: Any] ?? [:]
      change(&object)
      try JSONSerialization.data(withJSONObject: object).write(to: directory.appending(path: name))
    }
    try rewrite("config.json", config)
    try rewrite("tokenizer.json", tokenizer)
    let weights = try PlainCheckpoint(safetensors: source)
    let tensors = weights.tensors.sorted { $0.key < $1.key }.compactMap { name, tensor in
      weight(name, Weight(shape: tensor.shape, bytes: tensor.bytes)).map {
        SyntheticModel.Tensor(name: name, dtype: tensor.type, shape: $0.shape, bytes: $0.bytes)
      }
    }
    try Data(SyntheticModel.safetensors(tensors))
      .write(to: directory.appending(path: "model.safetensors"))
  }
}
