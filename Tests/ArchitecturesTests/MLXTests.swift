// SPDX-License-Identifier: Apache-2.0

import Architectures
import ByteStorage
import Checkpoints
import Foundation
import OrderedCollections
import Tensors
import TestSupport
import Testing

/// Checkpoints as mlx-lm writes them: experts stacked under `switch_mlp`, matrices in words with
/// scales and biases, Qwen3-MoE's gates among them.
struct MLXTests {
  private static let gate = "model.layers.1.mlp.gate"

  /// A Qwen3-MoE whose gates have `bits` in groups of `group`, its experts 4 bits in groups of 2.
  private static func draft(bits: Int, group: Int, mode: String = "affine") -> ModelDraft {
    var draft = ModelDraft.qwen3()
    var quantization: JSONValue = [
      "bits": .integer(4), "group_size": .integer(2), "mode": .string(mode),
    ]
    let (experts, hidden, width) = (ModelDraft.experts, ModelDraft.hidden, ModelDraft.width)
    for name in Array(draft.tensors.keys) {
      if name.hasSuffix(".mlp.gate.weight") {
        let module = String(name.dropLast(".weight".count))
        quantization[module] = ["bits": .integer(bits), "group_size": .integer(group)]
        draft.add(name, [experts, hidden * bits / 32], .u32)
        draft.add(module + ".scales", [experts, hidden / group], .bf16)
        draft.add(module + ".biases", [experts, hidden / group], .bf16)
      }
      guard let place = name.range(of: ".experts.") else { continue }
      draft.tensors[name] = nil
      guard let word = ["gate_proj", "up_proj", "down_proj"].first(where: name.contains) else {
        continue
      }
      let stem = name[..<place.lowerBound] + ".switch_mlp.\(word)"
      let (rows, columns) = word == "down_proj" ? (hidden, width) : (width, hidden)
      draft.add(stem + ".weight", [experts, rows, columns / 2], .u32)
      draft.add(stem + ".scales", [experts, rows, columns / 2], .bf16)
      draft.add(stem + ".biases", [experts, rows, columns / 2], .bf16)
    }
    draft.config["quantization"] = quantization
    draft.config["quantization_config"] = quantization
    return draft
  }

  @Test(arguments: [(4, 4), (8, 8), (8, 2)])
  func `a quantised gate is read value by value`(bits: Int, group: Int) throws {
    let draft = Self.draft(bits: bits, group: group)
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.safetensors(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    #expect(layout.warnings.isEmpty, "\(layout.warnings)")
    #expect(layout.undecodable?.contains("mlx") == true)
    #expect(layout.unclonable == nil)
    let layer = try #require(layout.layers.first { $0.gate.name.hasPrefix(Self.gate) })
    let gate = try layer.router(from: checkpoint).gate
    func floats(_ word: String) throws -> [Float] {
      try checkpoint.floats(of: checkpoint.tensor("\(Self.gate).\(word)"))
    }
    let (scales, biases) = (try floats("scales"), try floats("biases"))
    let words = try draft.bytes(Self.gate + ".weight")
    for row in 0..<ModelDraft.experts {
      for column in 0..<ModelDraft.hidden {
        let bit = (row * ModelDraft.hidden + column) * bits
        let word = (0..<4).reduce(UInt32(0)) {
          $0 | UInt32(words[bit / 32 * 4 + $1]) << UInt32(8 * $1)
        }
        let value = (word >> UInt32(bit % 32)) & UInt32(1 << bits - 1)
        let place = row * (ModelDraft.hidden / group) + column / group
        #expect(gate[row, column] == scales[place] * Float(value) + biases[place])
      }
    }
  }

  @Test func `an expert owns its slice of words, scales and biases`() throws {
    let layout = try Self.draft(bits: 8, group: 8).layout()
    for layer in layout.layers {
      #expect(layer.experts.count == 9)
      for part in layer.experts {
        #expect(
          part.slice(expert: 1).bytes.count * ModelDraft.experts == part.tensors[0].range.count)
      }
    }
  }

  @Test func `what is not MLX's affine form is refused by the gate's name`() throws {
    func refusal(_ draft: ModelDraft) throws -> String {
      let error = #expect(throws: RegateError.self) { try draft.layout() }
      return error?.description ?? ""
    }
    var missing = Self.draft(bits: 8, group: 8)
    missing.tensors[Self.gate + ".scales"] = nil
    #expect(try refusal(missing).contains(Self.gate + ".scales"))
    var wrong = Self.draft(bits: 8, group: 8)
    wrong.config["quantization"]?[Self.gate] = ["bits": .integer(4), "group_size": .integer(8)]
    #expect(try refusal(wrong).contains("expected [4, 1] for 4 bits"))
    wrong.config["quantization"]?[Self.gate] = ["bits": .integer(3), "group_size": .integer(8)]
    #expect(try refusal(wrong).contains("3 bits"))
    #expect(try refusal(Self.draft(bits: 8, group: 8, mode: "mxfp4")).contains("mode mxfp4"))
  }
}
