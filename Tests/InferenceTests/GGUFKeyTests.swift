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

/// What llama.cpp 0.5.0-dev reads of a file's metadata (its source; perplexities:
/// `tools/interop/gguf_keys.py`).
@Suite("GGUF keys as llama.cpp reads them") struct GGUFKeyTests {
  private static let yarn: OrderedDictionary<String, GGUFValue> = [
    "deepseek2.rope.scaling.type": .string("yarn"),
    "deepseek2.rope.scaling.factor": .float32(4),
    "deepseek2.rope.scaling.original_context_length": .uint32(16),
  ]

  /// Mean NLL of a variant whose metadata have `keys` too, and not `dropped`.
  private func nll(
    _ keys: OrderedDictionary<String, GGUFValue>, without dropped: String? = nil
  ) throws -> Double {
    let variant = try Variant("gguf-deepseek-v3-legacy")
    let altered = try AlteredGGUF("gguf-deepseek-v3-legacy") {
      $0.metadata.merge(keys) { $1 }
      if let dropped { $0.metadata[dropped] = nil }
    }
    let pass = try ForwardPass(try altered.model(), sequences: variant.sequences, threads: 1)
    try pass.finish()
    return try pass.scores()[0].meanNLL
  }

  @Test(arguments: [
    "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow", "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_attn_factor", "attention.clamp_kqv", "attention.scale",
  ])
  func `a key that is not read for the architecture changes nothing`(key: String) throws {
    let plain = try nll(Self.yarn)
    #expect(try nll(Self.yarn.merging(["deepseek2." + key: .float32(3)]) { $1 }) == plain)
    #expect(try nll([:]) != plain)
  }

  @Test func `an original context of 0 is that of the model`() throws {
    let key = "deepseek2.rope.scaling.original_context_length"
    let zero = Self.yarn.merging([key: .uint32(0)]) { $1 }
    #expect(try nll(zero) == nll(Self.yarn, without: key))
  }

  @Test func `latent attention grows with a linear scaling too`() throws {
    let linear: OrderedDictionary<String, GGUFValue> = [
      "deepseek2.rope.scaling.type": .string("linear"),
      "deepseek2.rope.scaling.factor": .float32(4),
    ]
    let log = "deepseek2.rope.scaling.yarn_log_multiplier"
    let more = linear.merging([log: .float32(0.1)]) { $1 }
    #expect(try nll(linear) != nll(more))
  }

  @Test func `queries grow with their position where the file says so`() throws {
    func nll(from length: UInt32) throws -> Double {
      try self.nll([
        "deepseek2.attention.temperature_scale": .float32(0.5),
        "deepseek2.attention.temperature_length": .uint32(length),
      ])
    }
    let plain = try self.nll([:])
    #expect(try nll(from: 8) != plain)
    // No sequence is longer.
    #expect(try nll(from: 20) == plain)
    let error = #expect(throws: RegateError.self) {
      _ = try self.nll(["deepseek2.attention.temperature_scale": .float32(0.5)])
    }
    #expect(error?.subject == "deepseek2.attention.temperature_length")
  }

  @Test(arguments: [
    ("attention.causal", GGUFValue.bool(false), "computes what Regate does not"),
    ("rope.scaling.factor", .float32(-2), "expected above 0, or 0 for none"),
  ])
  func `what llama.cpp computes otherwise is refused`(
    key: String, value: GGUFValue, text: String
  ) throws {
    let error = #expect(throws: RegateError.self) { _ = try nll(["deepseek2." + key: value]) }
    let message = String(describing: error)
    #expect(message.contains(key) && message.contains(text))
  }

  @Test(arguments: [
    ("gguf-dots1", "expert_shared_count", "dots1.expert_shared_count", RegateError.Code.malformed),
    ("gguf-dots1", "feed_forward_length", "blk.0.ffn_gate.weight", .mismatch),
    ("gguf-ernie", "expert_shared_feed_forward_length", "blk.1.ffn_down_shexp.weight", .mismatch),
  ])
  func `sizes that llama.cpp takes from keys are refused without them`(
    variant: String, key: String, subject: String, code: RegateError.Code
  ) throws {
    let altered = try AlteredGGUF(variant) { header in
      let name = header.metadata.keys.first { $0.hasSuffix("." + key) }
      if let name { header.metadata[name] = nil }
    }
    let error = altered.refusal()
    #expect(error?.subject == subject && error?.code == code)
    #expect(error?.problem.contains("llama.cpp") == true)
  }

  @Test func `a factor without a kind of scaling is refused where layers have windows`() throws {
    func altered(_ factor: Float) throws -> AlteredGGUF {
      try AlteredGGUF("gguf-gpt-oss") {
        $0.metadata["gpt-oss.rope.scaling.type"] = .string("none")
        $0.metadata["gpt-oss.rope.scaling.factor"] = .float32(factor)
      }
    }
    let error = try altered(2).refusal()
    #expect(error?.subject == "gpt-oss.rope.scaling.factor" && error?.code == .mismatch)
    #expect(try altered(1).model().layerCount == 2)
  }

  @Test func `short factors of longrope divide as rope_freqs do, up to the original context`()
    throws
  {
    let name = "gguf-mixtral-llama3-tied"
    func long(_ context: UInt32) throws -> AlteredGGUF {
      try AlteredGGUF(name) { header in
        for place in header.tensors.indices where header.tensors[place].name == "rope_freqs.weight"
        {
          header.tensors[place].name = "rope_factors_short.weight"
        }
        header.metadata["llama.rope.scaling.type"] = .string("longrope")
        header.metadata["llama.rope.scaling.original_context_length"] = .uint32(context)
      }
    }
    let variant = try Variant(name)
    let plain = try variant.pass().scores()[0].meanNLL
    let pass = try ForwardPass(try long(64).model(), sequences: variant.sequences, threads: 1)
    try pass.finish()
    #expect(try pass.scores()[0].meanNLL == plain)
    #expect(try long(4).refusal()?.subject == "rope_factors_short.weight")
  }

  @Test(arguments: [
    ("gguf-phi", "phimoe.rope.scaling.original_context_length", GGUFValue.uint32(0)),
    ("gguf-gpt-oss", "gpt-oss.attention.key_length_swa", .uint32(4)),
    ("gguf-gpt-oss", "gpt-oss.attention.value_length_swa", .uint32(4)),
    ("gguf-gpt-oss", "gpt-oss.rope.dimension_count_swa", .uint32(4)),
    ("gguf-gpt-oss", "gpt-oss.attention.sliding_window_pattern", .uint32(1)),
    ("gguf-qwen3-5", "qwen35moe.rope.dimension_sections", .array(.int32([1, 1, 0]))),
    ("gguf-qwen3-5", "qwen35moe.rope.dimension_sections", .array(.int32([0, 0, 0, 2]))),
  ])
  func `values with which llama.cpp computes otherwise, or stops, are refused`(
    variant: String, key: String, value: GGUFValue
  ) throws {
    let error = try AlteredGGUF(variant) { $0.metadata[key] = value }.refusal()
    #expect(error?.subject == key)
  }

  /// Mean NLL of a file whose pairs are shared out among positions so.
  private func nll(_ variant: Altered, sections: [Int32]?) throws -> Double {
    let altered = try AlteredGGUF(variant.name) { header in
      variant.change(&header)
      header.metadata[variant.architecture + ".rope.dimension_sections"] = sections.map {
        .array(.int32($0))
      }
    }
    let pass = try ForwardPass(
      try altered.model(), sequences: try Variant(variant.name).sequences, threads: 1)
    try pass.finish()
    return try pass.scores()[0].meanNLL
  }

  private struct Altered {
    let name: String
    let architecture: String
    var change: (inout GGUFHeader) -> Void = { _ in }
  }

  /// The last of four positions is 0 in text. Of two pairs the first takes the first position and
  /// the second the second, as long as their sections last.
  @Test func `pairs that no position of text turns stand still`() throws {
    let qwen = Altered(name: "gguf-qwen3-5", architecture: "qwen35moe")
    let whole = try nll(qwen, sections: [1, 1, 0, 0])
    #expect(try nll(qwen, sections: [5, 5, 5, 1]) == whole)
    let second = try nll(qwen, sections: [1, 0, 0, 1])
    #expect(second != whole)
    // The section of the third position takes no pair of two.
    #expect(try nll(qwen, sections: [1, 0, 1, 0]) == second)
    #expect(try nll(qwen, sections: [0, 1, 0, 1]) != second)
  }

  @Test func `sections of GLM-4.5V lie in a row`() throws {
    let glm = Altered(name: "gguf-dots1", architecture: "glm4moe") { header in
      header.metadata = OrderedDictionary(
        uniqueKeysWithValues: header.metadata.map {
          ($0.key.replacing("dots1.", with: "glm4moe."), $0.value)
        })
      header.metadata["general.architecture"] = .string("glm4moe")
      for place in header.tensors.indices {
        header.tensors[place].name.replace(".ffn_norm.", with: ".post_attention_norm.")
      }
    }
    let whole = try nll(glm, sections: nil)
    // Of four pairs.
    for sections: [Int32] in [[2, 2, 0, 0], [0, 2, 1, 1], [1, 1, 2, 0]] {
      #expect(try nll(glm, sections: sections) == whole)
    }
    let last = try nll(glm, sections: [1, 1, 1, 1])
    #expect(last != whole)
    #expect(try nll(glm, sections: [2, 1, 0, 1]) == last)
    #expect(try nll(glm, sections: [1, 1, 0, 2]) != last)
  }

  @Test func `a file without context_length is refused, as llama.cpp does`() throws {
    let error = #expect(throws: RegateError.self) {
      _ = try nll([:], without: "deepseek2.context_length")
    }
    #expect(error?.subject == "deepseek2.context_length")
  }
}
