// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension SyntheticModel {
  /// How the model lies in safetensors files.
  public struct Layout: Sendable, Hashable, CustomStringConvertible {
    /// Which shard a tensor goes to.
    public enum Sharding: Sendable {
      /// `model.safetensors` without an index.
      case single
      /// One shard per layer and one for the rest.
      case byLayer
      /// The experts of each layer spread over three shards, scales apart from their weights.
      case scattered
    }

    public var sharding: Sharding
    /// Experts in one tensor per matrix.
    public var fused = false
    public var gateType = PlainType.bf16
    public var biasType = PlainType.f32
    /// BF16, F16, F32, or FP8 with block scales.
    public var expertType = PlainType.bf16

    public init(
      _ sharding: Sharding, fused: Bool = false, gate: PlainType = .bf16, bias: PlainType = .f32,
      experts: PlainType = .bf16
    ) {
      self.sharding = sharding
      self.fused = fused
      gateType = gate
      biasType = bias
      expertType = experts
    }

    public var description: String {
      "\(sharding)\(fused ? ", fused" : ""), gate \(gateType.rawValue), bias \(biasType.rawValue), "
        + "experts \(expertType.rawValue)"
    }
  }

  /// A named tensor and its bytes.
  struct Tensor {
    var name: String
    var dtype: String
    var shape: [Int]
    var bytes: [UInt8]
  }

  /// Rows and columns per FP8 scale, as DeepSeek-V3 has them.
  public static let scaleBlock = 128

  /// Writes the model as a Hugging Face directory: weights, index, configuration and side files.
  ///
  /// A tensor can be given another name, or be left out by an empty one; `change` alters the
  /// configuration.
  public func writeSafetensors(
    _ layout: Layout, to directory: URL, renaming renamed: (from: String, to: String)? = nil,
    change: (inout [String: Any]) -> Void = { _ in }
  ) throws {
    let manager = FileManager.default
    try manager.createDirectory(
      at: directory.appending(path: "original"), withIntermediateDirectories: true)
    var shards: [[Tensor]] = Array(repeating: [], count: shardCount(layout.sharding))
    for (place, var tensor) in tensors(layout).enumerated() {
      if let renamed, tensor.name == renamed.from { tensor.name = renamed.to }
      guard !tensor.name.isEmpty else { continue }
      shards[shard(of: tensor.name, place: place, layout.sharding)].append(tensor)
    }
    var map: [String: String] = [:]
    for (number, tensors) in shards.enumerated() {
      let name =
        shards.count == 1
        ? "model.safetensors"
        : String(format: "model-%05d-of-%05d.safetensors", number + 1, shards.count)
      for tensor in tensors { map[tensor.name] = name }
      try Data(Self.safetensors(tensors)).write(to: directory.appending(path: name))
    }
    if shards.count > 1 {
      let size = shards.joined().reduce(0) { $0 + $1.bytes.count }
      try json(["metadata": ["total_size": size, "note": "kept"], "weight_map": map])
        .write(to: directory.appending(path: "model.safetensors.index.json"))
    }
    var config = configuration(layout)
    change(&config)
    try json(config).write(to: directory.appending(path: "config.json"))
    try Data("{\"tokens\" : [1,  2]}\r\n".utf8)
      .write(to: directory.appending(path: "tokenizer.json"))
    try Data([0, 255, 128, 10, 13]).write(to: directory.appending(path: "original/blob.dat"))
  }

  private func json(_ object: [String: Any]) throws -> Data {
    try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .prettyPrinted])
  }

  private func shardCount(_ sharding: Layout.Sharding) -> Int {
    switch sharding {
    case .single: 1
    case .byLayer: layerCount + mtpLayers + 1
    case .scattered: 3
    }
  }

  private func shard(of name: String, place: Int, _ sharding: Layout.Sharding) -> Int {
    switch sharding {
    case .single: return 0
    case .byLayer:
      let parts = name.split(separator: ".")
      return parts.count > 2 && parts[1] == "layers" ? (Int(parts[2]) ?? 0) + 1 : 0
    case .scattered: return place % 3
    }
  }

  /// The bytes of one file, with a header that no writer of Regate's would make: a space at the
  /// end, metadata in the middle, tensors named in reverse.
  static func safetensors(
    _ tensors: [Tensor], metadata: String = #""__metadata__":{"format":"pt","origin":"test"}"#
  ) -> [UInt8] {
    var offset = 0
    var entries: [String] = []
    for tensor in tensors {
      let shape = "[" + tensor.shape.map(String.init).joined(separator: ",") + "]"
      entries.insert(
        entryText(tensor.name, tensor.dtype, shape: shape, offset, offset + tensor.bytes.count),
        at: 0)
      offset += tensor.bytes.count
    }
    if !metadata.isEmpty { entries.insert(metadata, at: entries.count / 2) }
    var header = "{" + entries.joined(separator: ", ") + "}"
    while header.utf8.count % 8 != 0 { header += " " }
    return safetensorsBytes(header) + tensors.flatMap(\.bytes)
  }
}

// MARK: Tensors

extension SyntheticModel {
  private func tensor(_ name: String, _ type: PlainType, _ shape: [Int], _ values: [Float])
    -> Tensor
  {
    Tensor(name: name, dtype: type.rawValue, shape: shape, bytes: type.bytes(values))
  }

  private func filler(_ name: String, _ shape: [Int]) -> Tensor {
    tensor(name, .bf16, shape, fillerValues(name, shape.reduce(1, *)))
  }

  /// All tensors in the order of the layers.
  func tensors(_ layout: Layout) -> [Tensor] {
    var all = [filler("model.embed_tokens.weight", [Self.vocabulary, hidden])]
    for index in 0..<layerCount + mtpLayers {
      let prefix = "model.layers.\(index)."
      all += [
        filler(prefix + "input_layernorm.weight", [hidden]),
        filler(prefix + "self_attn.q_proj.weight", [hidden, hidden]),
      ]
      if index >= layerCount {
        all.append(filler(prefix + "eh_proj.weight", [hidden, 2 * hidden]))
        all.append(filler(prefix + "shared_head.norm.weight", [hidden]))
      }
      guard let layer = layer(index) else {
        all.append(filler(prefix + "mlp.gate_proj.weight", [2 * width, hidden]))
        all.append(filler(prefix + "mlp.down_proj.weight", [hidden, 2 * width]))
        continue
      }
      let block = prefix + (family == .mixtral && !layout.fused ? "block_sparse_moe." : "mlp.")
      all.append(tensor(block + "gate.weight", layout.gateType, [experts, hidden], layer.gate))
      if let bias = layer.bias {
        all.append(
          tensor(block + "gate.e_score_correction_bias", layout.biasType, [experts], bias))
      }
      all += layout.fused ? fused(layer, block, layout) : separate(layer, block, layout)
      if family == .deepseek {
        all.append(filler(block + "shared_experts.gate_proj.weight", [width, hidden]))
        all.append(filler(block + "shared_experts.up_proj.weight", [width, hidden]))
        all.append(filler(block + "shared_experts.down_proj.weight", [hidden, width]))
      }
    }
    return all + [filler("lm_head.weight", [Self.vocabulary, hidden])]
  }

  private func fused(_ layer: Layer, _ block: String, _ layout: Layout) -> [Tensor] {
    [
      tensor(
        block + "experts.gate_up_proj", layout.expertType, [experts, 2 * width, hidden],
        layer.experts.flatMap { $0.gate + $0.up }),
      tensor(
        block + "experts.down_proj", layout.expertType, [experts, hidden, width],
        layer.experts.flatMap(\.down)),
    ]
  }

  private func separate(_ layer: Layer, _ block: String, _ layout: Layout) -> [Tensor] {
    let names =
      family == .mixtral ? ["w1", "w3", "w2"] : ["gate_proj", "up_proj", "down_proj"]
    return layer.experts.enumerated().flatMap { number, expert in
      zip(names, [(expert.gate, false), (expert.up, false), (expert.down, true)]).flatMap {
        name, matrix in
        matrixTensors(
          "\(block)experts.\(number).\(name).weight", matrix.0,
          matrix.1 ? [hidden, width] : [width, hidden], layout, seed: UInt64(number))
      }
    }
  }

  /// A matrix as one tensor; in FP8, `weight` times 8 for scales of 1/8 that differ per block.
  private func matrixTensors(
    _ name: String, _ values: [Float], _ shape: [Int], _ layout: Layout, seed: UInt64
  ) -> [Tensor] {
    guard layout.expertType == .fp8 else {
      return [tensor(name, layout.expertType, shape, values)]
    }
    let grid = shape.map { ($0 + Self.scaleBlock - 1) / Self.scaleBlock }
    let scales = (0..<grid[0] * grid[1]).map {
      Self.weightStep / Float(1 << (($0 + Int(seed)) % 3))
    }
    var stored = values
    for row in 0..<shape[0] {
      for column in 0..<shape[1] {
        let scale = scales[row / Self.scaleBlock * grid[1] + column / Self.scaleBlock]
        stored[row * shape[1] + column] /= scale
      }
    }
    return [
      tensor(name, .fp8, shape, stored),
      tensor(name + "_scale_inv", .f32, grid, scales),
    ]
  }

  /// `config.json`, with a key that Regate does not know.
  func configuration(_ layout: Layout) -> [String: Any] {
    var config: [String: Any] = [
      "hidden_size": hidden, "num_hidden_layers": layerCount, "hidden_act": "silu",
      "vocab_size": Self.vocabulary, "num_experts_per_tok": topK, "rms_norm_eps": 1e-6,
      "custom": ["a": [1, 2.5, NSNull()]],
    ]
    switch family {
    case .mixtral:
      config["model_type"] = "mixtral"
      config["architectures"] = ["MixtralForCausalLM"]
      config["num_local_experts"] = experts
      config["intermediate_size"] = width
    case .qwen3:
      config["model_type"] = "qwen3_moe"
      config["architectures"] = ["Qwen3MoeForCausalLM"]
      config["num_experts"] = experts
      config["moe_intermediate_size"] = width
      config["norm_topk_prob"] = true
    case .deepseek:
      config["model_type"] = "deepseek_v3"
      config["architectures"] = ["DeepseekV3ForCausalLM"]
      config["n_routed_experts"] = experts
      config["moe_intermediate_size"] = width
      config["n_shared_experts"] = 1
      config["first_k_dense_replace"] = 1
      config["n_group"] = Self.groups
      config["topk_group"] = Self.keptGroups
      config["norm_topk_prob"] = true
      config["routed_scaling_factor"] = Double(Self.scale)
      config["num_nextn_predict_layers"] = mtpLayers
    }
    if layout.expertType == .fp8 {
      config["quantization_config"] = [
        "quant_method": "fp8", "fmt": "e4m3",
        "weight_block_size": [Self.scaleBlock, Self.scaleBlock],
      ]
    }
    return config
  }
}
