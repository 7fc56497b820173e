// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A model of one of transformers' classes without weights of its own: a configuration, and the
/// names and shapes of what is stored.
public struct ClassSample: Sendable, CustomStringConvertible {
  /// `null` in a configuration.
  public static let null = "null"

  public let modelType: String
  private let own: @Sendable () -> [String: Any]
  /// [name: shape]
  public let tensors: [String: [Int]]

  /// `parameters` as `10: name=4x8`: layers of one digit each, or "-" for none, then names after
  /// `model.layers.N.` and shapes.
  public init(
    _ modelType: String, _ own: @autoclosure @escaping @Sendable () -> [String: Any],
    _ parameters: String
  ) {
    self.modelType = modelType
    self.own = own
    var tensors: [String: [Int]] = [:]
    var layers = "-"
    for word in parameters.split(whereSeparator: \.isWhitespace) {
      if word.hasSuffix(":") {
        layers = String(word.dropLast())
        continue
      }
      let parts = word.split(separator: "=")
      let shape = parts[1].split(separator: "x").compactMap { Int($0) }
      for layer in layers {
        let name = layer == "-" ? String(parts[0]) : "model.layers.\(layer).\(parts[0])"
        for expert in 0..<(name.contains("@") ? Self.experts(own()) : 1) {
          tensors[name.replacing("@", with: String(expert))] = shape
        }
      }
    }
    self.tensors = tensors
  }

  private static func experts(_ config: [String: Any]) -> Int {
    let keys = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"]
    return keys.lazy.compactMap { config[$0] as? Int }.first ?? 0
  }

  public var description: String { modelType }

  /// `config.json`.
  public var config: [String: Any] {
    let base: [String: Any] = [
      "model_type": modelType, "vocab_size": 40, "hidden_size": 32, "intermediate_size": 24,
      "moe_intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 4,
      "num_key_value_heads": 2, "num_experts_per_tok": 2, "max_position_embeddings": 64,
      "tie_word_embeddings": false, "rope_parameters": ["rope_theta": 10000.5],
    ]
    return base.merging(own()) { _, own in own }.mapValues {
      $0 as? String == Self.null ? NSNull() : $0
    }
  }

  /// Writes the model, all weights 0; the arguments alter what is written.
  public func write(
    to directory: URL, config change: (inout [String: Any]) -> Void = { _ in },
    tensors alter: (inout [String: [Int]]) -> Void = { _ in },
    values: (_ name: String, _ count: Int) -> [Float] = { [Float](repeating: 0, count: $1) }
  ) throws {
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    var (config, tensors) = (config, tensors)
    change(&config)
    alter(&tensors)
    try JSONSerialization.data(withJSONObject: config)
      .write(to: directory.appending(path: "config.json"))
    let stored = tensors.sorted { $0.key < $1.key }.map { name, shape in
      let type = name.hasSuffix("e_score_correction_bias") ? PlainType.f32 : .bf16
      return SyntheticModel.Tensor(
        name: name, dtype: type.rawValue, shape: shape,
        bytes: type.bytes(values(name, shape.reduce(1, *))))
    }
    try Data(SyntheticModel.safetensors(stored))
      .write(to: directory.appending(path: "model.safetensors"))
  }

  /// Writes the same captured `inputs` [T,H] for each of `layers`.
  public func writeCapture(_ inputs: [Float], layers: [Int], to file: URL) throws {
    let hidden = 32
    let arrays = layers.map { layer in
      SyntheticModel.Tensor(
        name: "layers.\(layer).router_input", dtype: PlainType.f32.rawValue,
        shape: [inputs.count / hidden, hidden], bytes: PlainType.f32.bytes(inputs))
    }
    let metadata = #""__metadata__":{"format":"regate.capture.v1"}"#
    try Data(SyntheticModel.safetensors(arrays, metadata: metadata)).write(to: file)
  }
}
