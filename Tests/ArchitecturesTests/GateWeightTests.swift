// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Tensors
import TestSupport
import Testing

/// A router's gate and what stands beside it, and weights of GGUF files.
struct GateWeightTests {
  private static let gate = "model.layers.1.mlp.gate"

  private static func draft(_ type: ElementType, beside: [String: [Int]]) -> ModelDraft {
    var draft = ModelDraft.qwen3()
    draft.add("\(gate).weight", [4, 8], type)
    for (suffix, shape) in beside { draft.add("\(gate).\(suffix)", shape) }
    return draft
  }

  @Test(arguments: [ElementType.f8e4m3, .i8], [[], [4, 1], [4]])
  func `a gate of eight bits is multiplied by its scale, and told to be one`(
    type: ElementType, shape: [Int]
  ) throws {
    let draft = Self.draft(type, beside: ["weight_scale": shape, "input_scale": []])
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.safetensors(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    #expect(layout.warnings.isEmpty, "\(layout.warnings)")
    #expect(layout.layers.map(\.gateBits) == [nil, 8])
    let gate = try layout.layers[1].router(from: checkpoint).gate
    let stored = try checkpoint.floats(of: checkpoint.tensor("\(Self.gate).weight"))
    let scales = try checkpoint.floats(of: checkpoint.tensor("\(Self.gate).weight_scale"))
    for index in stored.indices {
      let scale = scales.count == 1 ? scales[0] : scales[index / 8]
      #expect(gate[index / 8, index % 8] == stored[index] * scale)
    }
  }

  @Test(arguments: [
    (ElementType.bf16, "weight_scale", "no known layout has both"),
    (.bf16, "lora_A.weight", "is part of an adapter"),
    (.f8e4m3, "input_scale", "no scale stands beside it"),
  ])
  func `a gate that is not what is stored is refused by name`(
    type: ElementType, suffix: String, says: String
  ) throws {
    let error = #expect(throws: RegateError.self) {
      try Self.draft(type, beside: [suffix: [1]]).layout()
    }
    #expect(error?.description.contains(says) == true, "\(String(describing: error))")
    #expect(error?.subject?.hasPrefix(Self.gate) == true)
  }

  @Test func `a tensor that no runtime reads beside a gate is a warning`() throws {
    let layout = try Self.draft(.bf16, beside: ["novelty": [3]]).layout()
    #expect(layout.warnings.contains { $0.contains("mlp.gate.novelty: transformers ignores") })
  }

  @Test func `a GGUF weight takes its scale, and anything unknown beside it is refused`() throws {
    var draft = ModelDraft.gguf("qwen3moe")
    draft.add("blk.0.attn_q.weight", [8, 8])
    draft.add("blk.0.attn_q.scale", [1], values: [0.5])
    draft.add("blk.0.attn_q.input_scale", [1], values: [9])
    func values() throws -> [Float]? {
      let directory = try TemporaryDirectory()
      let checkpoint = try draft.gguf(in: directory)
      let weight = try ModuleIndex(checkpoint).weight(
        of: "blk.0.attn_q", scheme: ModelLayout.read(checkpoint).quantisation)
      return try weight?.matrix(rows: 8, columns: 8, in: checkpoint).panel(threads: 1).matrix
        .values
    }
    let stored = (0..<64).map { ModelDraft.value("blk.0.attn_q.weight", $0) }
    #expect(try values() == stored.map { $0 * 0.5 })
    draft.add("blk.0.attn_q.lora_a", [2, 8])
    let error = #expect(throws: RegateError.self) { try values() }
    #expect(error?.subject == "blk.0.attn_q.lora_a" && error?.code == .unsupported)
  }
}
