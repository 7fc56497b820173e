// SPDX-License-Identifier: Apache-2.0

public import Foundation

extension SyntheticModel {
  /// How the model lies in GGUF files.
  public struct GGUFLayout: Sendable, Hashable, CustomStringConvertible {
    /// F32, F16 or Q8_0.
    public var expertType: PlainType
    /// Two files, the first with the first half of the tensors.
    public var split: Bool
    /// F32, F16 or Q8_0.
    public var gateType: PlainType

    public init(_ expertType: PlainType, split: Bool = false, gate: PlainType = .f32) {
      self.expertType = expertType
      self.split = split
      gateType = gate
    }

    public var description: String {
      "\(expertType.rawValue)\(split ? ", split" : "")"
        + (gateType == .f32 ? "" : ", gate \(gateType.rawValue)")
    }
  }

  /// Writes the model as llama.cpp's converter lays it out, and returns the path of its (first)
  /// file.
  @discardableResult
  public func writeGGUF(
    _ layout: GGUFLayout, to directory: URL, name: String = "model"
  ) throws -> String {
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    let tensors = ggufTensors(layout)
    var parts = [tensors]
    if layout.split {
      parts = [Array(tensors[..<(tensors.count / 2)]), Array(tensors[(tensors.count / 2)...])]
    }
    var paths: [URL] = []
    for (number, part) in parts.enumerated() {
      let ending =
        layout.split ? String(format: "-%05d-of-%05d", number + 1, parts.count) : ""
      let url = directory.appending(path: "\(name)\(ending).gguf")
      try Data(gguf(part, number: number, of: parts.count, total: tensors.count)).write(to: url)
      paths.append(url)
    }
    return paths[0].path(percentEncoded: false)
  }

  /// One file.
  private func gguf(_ tensors: [Tensor], number: Int, of count: Int, total: Int) -> [UInt8] {
    var draft = GGUFDraft(keys: number == 0 ? ggufKeys : [])
    if number == 0 {
      draft.keys[0] = GGUFDraft.pair("general.architecture", 8, GGUFDraft.string(architecture))
    } else {
      draft.keys = []
    }
    if count > 1 {
      draft.keys += [
        GGUFDraft.pair("split.no", 2, GGUFDraft.number(UInt16(number))),
        GGUFDraft.pair("split.count", 2, GGUFDraft.number(UInt16(count))),
        GGUFDraft.pair("split.tensors.count", 5, GGUFDraft.number(Int32(total))),
      ]
    }
    var data: [UInt8] = []
    for tensor in tensors {
      draft.tensors.append(
        GGUFDraft.tensor(
          tensor.name, tensor.shape.reversed().map(Int64.init),
          type: PlainType(rawValue: tensor.dtype)?.ggml ?? 0, offset: UInt64(data.count)))
      data += tensor.bytes
      data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
    }
    return draft.bytes + data
  }

  private var architecture: String {
    switch family {
    case .mixtral: "llama"
    case .qwen3: "qwen3moe"
    case .deepseek: "deepseek2"
    }
  }

  private var ggufKeys: [[UInt8]] {
    func integer(_ key: String, _ value: Int) -> [UInt8] {
      GGUFDraft.pair("\(architecture).\(key)", 4, GGUFDraft.number(UInt32(value)))
    }
    var keys = [
      GGUFDraft.pair("general.name", 8, GGUFDraft.string("Synthetic \u{1F9EA}")),
      integer("block_count", layerCount + mtpLayers), integer("embedding_length", hidden),
      integer("feed_forward_length", family == .mixtral ? width : 2 * width),
      integer("expert_feed_forward_length", width),
      integer("expert_count", experts), integer("expert_used_count", topK),
      GGUFDraft.pair(
        "tokenizer.ggml.tokens", 9,
        GGUFDraft.array(
          8, UInt64(Self.vocabulary),
          (0..<Self.vocabulary).flatMap { GGUFDraft.string("token \($0)") })),
    ]
    if family == .deepseek {
      keys += [
        integer("leading_dense_block_count", 1), integer("expert_shared_count", 1),
        integer("expert_gating_func", 2), integer("expert_group_count", Self.groups),
        integer("expert_group_used_count", Self.keptGroups),
        integer("nextn_predict_layers", mtpLayers),
        GGUFDraft.pair("\(architecture).expert_weights_norm", 7, [1]),
        GGUFDraft.pair(
          "\(architecture).expert_weights_scale", 6, littleEndian(Self.scale.bitPattern)),
      ]
    }
    return keys
  }

  /// Tensors with row-major shapes.
  func ggufTensors(_ layout: GGUFLayout) -> [Tensor] {
    func filler(_ name: String, _ shape: [Int], _ type: PlainType = .f32) -> Tensor {
      Tensor(
        name: name, dtype: type.rawValue, shape: shape,
        bytes: type.bytes(fillerValues(name, shape.reduce(1, *)), step: Self.weightStep))
    }
    func stack(_ name: String, _ shape: [Int], _ values: [Float]) -> Tensor {
      Tensor(
        name: name, dtype: layout.expertType.rawValue, shape: [experts] + shape,
        bytes: layout.expertType.bytes(values, step: Self.weightStep))
    }
    var all = [filler("token_embd.weight", [Self.vocabulary, hidden], .f16)]
    for index in 0..<layerCount + mtpLayers {
      let prefix = "blk.\(index)."
      all += [
        // Five values: the next tensor needs padding before it.
        filler(prefix + "attn_norm.weight", [5]),
        filler(prefix + "attn_q.weight", [hidden, hidden], layout.expertType),
      ]
      if index >= layerCount {
        all.append(filler(prefix + "nextn.eh_proj.weight", [hidden, 2 * hidden]))
      }
      guard let layer = layer(index) else {
        all.append(filler(prefix + "ffn_gate.weight", [2 * width, hidden], layout.expertType))
        continue
      }
      all.append(
        Tensor(
          name: prefix + "ffn_gate_inp.weight", dtype: layout.gateType.rawValue,
          shape: [experts, hidden],
          bytes: layout.gateType.bytes(layer.gate, step: Self.gateStep)))
      if let bias = layer.bias {
        all.append(
          Tensor(
            name: prefix + "exp_probs_b.bias", dtype: "F32", shape: [experts],
            bytes: PlainType.f32.bytes(bias)))
        all.append(filler(prefix + "ffn_gate_shexp.weight", [width, hidden]))
      }
      all += [
        stack(prefix + "ffn_down_exps.weight", [hidden, width], layer.experts.flatMap(\.down)),
        stack(prefix + "ffn_gate_exps.weight", [width, hidden], layer.experts.flatMap(\.gate)),
        stack(prefix + "ffn_up_exps.weight", [width, hidden], layer.experts.flatMap(\.up)),
      ]
    }
    return all + [filler("output.weight", [Self.vocabulary, hidden], .f16)]
  }
}
