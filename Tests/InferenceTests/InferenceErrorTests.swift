// SPDX-License-Identifier: Apache-2.0

import ByteStorage
import Foundation
import Inference
import Tensors
import TestSupport
import Testing

@Suite("What cannot be run") struct InferenceErrorTests {
  private func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no error"
    } catch {
      return String(describing: error)
    }
  }

  @Test(arguments: [-1, 40, Int(Int32.max) + 1])
  func `an id outside the vocabulary is refused`(id: Int) throws {
    let variant = try Variant("olmoe")
    let text = message {
      _ = try ForwardPass(variant.model, sequences: [[1, 2], [3, id]], threads: 1)
    }
    #expect(text.contains("sequence 1") && text.contains("token id \(id) is out of range"))
    #expect(text.contains("40 tokens"))
  }

  @Test func `no tokens, or none to predict, are refused`() throws {
    let model = try Variant("olmoe").model
    #expect(
      message { _ = try ForwardPass(model, sequences: [[]], threads: 1) }
        .contains("there is no token to run"))
    let pass = try ForwardPass(model, sequences: [[1], [2]], threads: 1)
    try pass.finish()
    #expect(message { _ = try pass.scores() }.contains("no sequence has a position"))
  }

  @Test(arguments: [
    "model.layers.1.self_attn.k_proj.weight", "model.layers.0.self_attn.q_norm.weight",
    "model.layers.1.post_attention_layernorm.weight", "model.norm.weight", "lm_head.weight",
    "model.embed_tokens.weight",
  ])
  func `a missing weight is named`(name: String) throws {
    let altered = try AlteredModel("olmoe", tensors: { tensor, _, _, _ in tensor != name })
    let text = message {
      let pass = try ForwardPass(altered.model(), sequences: [[1, 2, 3]], threads: 1)
      try pass.finish()
      _ = try pass.scores()
    }
    #expect(text.contains(name) && text.contains("no such tensor"))
  }

  @Test(arguments: [
    ("model.layers.1.self_attn.k_proj.weight", "[24, 12]", "expected [12, 24]"),
    ("model.norm.weight", "[12, 2]", "expected [24]"),
    ("lm_head.weight", "[20, 48]", "expected [40, 24]"),
    ("model.embed_tokens.weight", "[20, 48]", "expected [vocabulary, 24]"),
  ])
  func `a misshapen weight is named`(name: String, shape: String, expected: String) throws {
    let altered = try AlteredModel(
      "olmoe",
      tensors: { tensor, _, dimensions, _ in
        if tensor == name {
          dimensions = shape.dropFirst().dropLast().split(separator: ",").compactMap {
            Int($0.trimmingCharacters(in: .whitespaces))
          }
        }
        return true
      })
    let text = message {
      let pass = try ForwardPass(altered.model(), sequences: [[1, 2, 3]], threads: 1)
      try pass.finish()
      _ = try pass.scores()
    }
    #expect(text.contains(name) && text.contains("has shape \(shape), \(expected)"))
  }

  @Test(
    arguments: [
      ("model.embed_tokens.weight", "the embedding"),
      ("model.layers.0.self_attn.v_proj.weight", "the attention of layer 0"),
      ("model.layers.0.mlp.experts.0.down_proj.weight", "the output of layer 0"),
      ("model.layers.1.mlp.experts.0.down_proj.weight", "the output of layer 1"),
    ], [UInt8(0xC0), 0x80])
  func `NaN and infinite activations name their layer`(
    place: (tensor: String, text: String), low: UInt8
  ) throws {
    // BF16 0x7FC0 is NaN, 0x7F80 infinity.
    let altered = try AlteredModel(
      "olmoe",
      tensors: { tensor, _, _, bytes in
        if tensor == place.tensor {
          for index in stride(from: 0, to: bytes.count, by: 2) {
            (bytes[index], bytes[index + 1]) = (low, 0x7F)
          }
        }
        return true
      })
    let variant = try Variant("olmoe")
    let text = message {
      let pass = try ForwardPass(altered.model(), sequences: variant.sequences, threads: 1)
      try pass.finish()
      _ = try pass.scores()
    }
    #expect(text.contains(place.text) && text.contains("NaN or infinite activations"))
  }

  @Test func `a vocabulary that does not fit the embedding is refused`() throws {
    let altered = try AlteredModel("olmoe", config: { $0["vocab_size"] = 41 })
    #expect(
      message { _ = try altered.model() }
        .contains("has 40 rows, but vocab_size says 41 tokens"))
  }

  @Test(arguments: [
    ("num_key_value_heads", 3 as any Sendable, "which does not divide the 4 query heads"),
    ("clip_qkv", 8.0, "computes what Regate does not"),
    ("rope_parameters", ["rope_type": "dynamic", "rope_theta": "1"], "expected a finite number"),
    (
      "rope_parameters", ["rope_type": "linear", "partial_rotary_factor": "1"],
      "expected a finite number"
    ),
    ("head_dim", 1 << 30, "number up to 65536"),
    ("hidden_act", "gelu", "only silu is supported"),
  ])
  func `a configuration that cannot be run is refused`(
    key: String, value: any Sendable, text: String
  ) throws {
    let altered = try AlteredModel("olmoe", config: { $0[key] = value })
    #expect(message { _ = try altered.model() }.contains(text))
  }

  @Test func `an unknown rope scaling is refused by name`() throws {
    let altered = try AlteredModel(
      "olmoe",
      config: {
        $0["rope_parameters"] = ["rope_type": "su", "rope_theta": 100.0] as [String: Any]
      })
    #expect(
      message { _ = try altered.model() }
        .contains("is \"su\", expected default, linear, dynamic, yarn, llama3 or longrope"))
  }

  @Test func `llama-perplexity's windows and counted positions`() throws {
    let windows = PerplexityProtocol.llamaWindows(Array(0..<21), length: 8, bos: 99)
    #expect(windows == [[99, 1, 2, 3, 4, 5, 6, 7], [99, 9, 10, 11, 12, 13, 14, 15]])
    let model = try Variant("olmoe").model
    let pass = try ForwardPass(
      model, sequences: PerplexityProtocol.llamaWindows(Array(0..<21), length: 8, bos: nil),
      threads: 1)
    try pass.finish()
    let all = try pass.scores()[0].nll
    // Positions 4, 5 and 6 of each window of 8.
    #expect(try pass.scores(.llama)[0].nll == [4, 5, 6, 11, 12, 13].map { all[$0] })
    #expect(PerplexityProtocol.llamaWindows([1, 2, 3], length: 4, bos: nil).isEmpty)
  }
}
