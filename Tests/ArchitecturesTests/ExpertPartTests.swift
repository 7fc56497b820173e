// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors
import TestSupport
import Testing

/// Everything that belongs to an expert is in its parts, and slices lie where the bytes are.
struct ExpertPartTests {
  /// Suffixes of one expert's tensors, by quantisation scheme.
  static let schemes: [(name: String, suffixes: [(String, [Int], ElementType)])] = [
    (
      "gptq",
      [
        ("qweight", [1, 6], .i32), ("qzeros", [1, 1], .i32), ("scales", [1, 6], .f16),
        ("g_idx", [8], .i32),
      ]
    ),
    ("awq", [("qweight", [8, 1], .i32), ("qzeros", [1, 1], .i32), ("scales", [1, 6], .f16)]),
    (
      "compressed-tensors",
      [
        ("weight_packed", [6, 1], .i32), ("weight_scale", [6, 1], .bf16),
        ("weight_shape", [2], .i64), ("weight_zero_point", [1, 1], .i32),
      ]
    ),
    (
      "modelopt",
      [
        ("weight", [6, 4], .u8), ("weight_scale", [6, 1], .f8e4m3), ("weight_scale_2", [], .f32),
        ("pre_quant_scale", [8], .f32),
      ]
    ),
    (
      "bitsandbytes",
      [
        ("weight", [24, 1], .u8), ("weight.absmax", [1], .f32), ("weight.quant_map", [16], .f32),
        ("weight.quant_state.bitsandbytes__nf4", [9], .u8),
      ]
    ),
  ]

  static func quantised(_ index: Int) -> ModelDraft {
    var draft = ModelDraft.qwen3()
    draft.config["quantization_config"] = ["quant_method": .string(schemes[index].name)]
    for name in Array(draft.tensors.keys) where name.contains("experts") {
      draft.tensors[name] = nil
      for (suffix, shape, type) in schemes[index].suffixes {
        draft.add(name.replacing(".weight", with: ".") + suffix, shape, type)
      }
    }
    return draft
  }

  @Test(arguments: schemes.indices)
  func `every tensor of a quantised expert is one of its parts, and none can be decoded`(
    scheme: Int
  ) throws {
    let draft = ExpertPartTests.quantised(scheme)
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.safetensors(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    try expectCoverage(draft, layout)
    let name = ExpertPartTests.schemes[scheme].name
    #expect(layout.undecodable?.contains(name) == true)
    let error = #expect(throws: RegateError.self) { try ExpertReader(checkpoint, layout: layout) }
    #expect(error?.code == .unsupported)
    #expect(error?.description.contains("cannot decode") == true)
  }

  @Test(arguments: [
    ModelDraft.mixtral, .qwen3(), .deepseekV2(), .deepseekV3(), .gguf("llama"), .gguf("qwen3moe"),
    .deepseek2(), .gptOSSFile,
  ])
  func `every expert tensor is covered once`(_ draft: ModelDraft) throws {
    try expectCoverage(draft, try draft.layout())
  }

  /// Slices of all experts and parts are exactly the bytes of the tensors that name experts.
  private func expectCoverage(_ draft: ModelDraft, _ layout: ModelLayout) throws {
    var covered: [String: [Range<Int>]] = [:]
    for layer in layout.layers {
      for part in layer.experts {
        for expert in 0..<layer.rule.experts {
          let (tensor, bytes) = part.slice(expert: expert)
          covered[tensor.name, default: []].append(bytes)
        }
      }
    }
    let named = draft.tensors.keys.filter {
      ($0.contains("experts") || $0.contains("_exps")) && !$0.contains("shared")
    }
    #expect(Set(covered.keys) == Set(named))
    for (name, ranges) in covered {
      let count = try draft.bytes(name).count
      #expect(ranges.reduce(0) { $0 + $1.count } == count)
      #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
    }
  }

  @Test func `expert tensors that no table knows are companions`() throws {
    var draft = ModelDraft.qwen3()
    for layer in 0..<2 {
      for expert in 0..<4 {
        draft.add("model.layers.\(layer).mlp.experts.\(expert).novelty", [3])
        draft.add("model.layers.\(layer).mlp.experts.\(expert).up_proj.lora_A.weight", [2, 8])
        draft.add("model.layers.\(layer).mlp.expert_notes.\(expert)", [2])
      }
      draft.add("model.layers.\(layer).mlp.expert_temperature", [4])
    }
    let layout = try draft.layout()
    let parts = layout.layers[0].experts
    #expect(parts.filter { $0.role == .other }.map(\.kind) == [.companion, .companion, .companion])
    #expect(parts.contains { $0.suffix == "lora_A.weight" && $0.kind == .companion })
    let stacked = try #require(parts.first { $0.name == "mlp.expert_temperature" })
    #expect(stacked.slice(expert: 3).bytes == 12..<16)
    #expect(layout.unclonable == nil)
    // An adapter changes what the expert computes: its weight alone is not the expert.
    #expect(layout.undecodable?.contains("lora_A") == true)
  }

  @Test func `a tensor of all experts that cannot be divided forbids clones`() throws {
    var draft = ModelDraft.qwen3()
    draft.add("model.layers.1.mlp.experts.mixing", [7, 3])
    #expect(try draft.layout().unclonable?.contains("model.layers.1.mlp.experts.mixing") == true)
    draft.add("model.layers.1.mlp.experts.mixing", [])
    #expect(try draft.layout().unclonable == nil)
  }

  @Test func `a GGUF slice is the tensor's bytes over E, also in blocks`() throws {
    var draft = ModelDraft.gguf("llama", ["embedding_length": .uint32(64)])
    for layer in 0..<2 {
      draft.add("blk.\(layer).ffn_gate_inp.weight", [4, 64])
      draft.add("blk.\(layer).ffn_gate_exps.weight", [4, 6, 64], .q8_0)
      draft.add("blk.\(layer).ffn_up_exps.weight", [4, 6, 64], .q4_0)
      draft.add("blk.\(layer).ffn_down_exps.weight", [4, 64, 6])
      draft.add("blk.\(layer).ffn_gate_exps.scale", [4])
    }
    let parts = try draft.layout().layers[0].experts
    #expect(parts[0].slice(expert: 2).bytes == 2 * 6 * 2 * 34..<3 * 6 * 2 * 34)
    let scale = try #require(parts.first { $0.kind == .scale })
    #expect(scale.role == .gate && scale.slice(expert: 1).bytes == 4..<8)
    #expect(parts[0].shape(expert: 0) == [6, 64])
  }

  @Test func `experts of different types cannot take each other's place`() throws {
    var draft = ModelDraft.qwen3()
    draft.add("model.layers.0.mlp.experts.2.up_proj.weight", [6, 8], .bf16)
    let up = try #require(try draft.layout().layers[0].experts.first { $0.role == .up })
    #expect(up.canCopy(from: 0, to: 1) && !up.canCopy(from: 0, to: 2))
  }
}
