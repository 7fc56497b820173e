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

  /// olmoe with every element of `tensor` replaced by the BF16 number of these bits.
  private func filled(_ tensor: String, _ bits: UInt16) throws -> AlteredModel {
    try AlteredModel(
      "olmoe",
      tensors: { name, _, _, bytes in
        for index in stride(from: 0, to: name == tensor ? bytes.count : 0, by: 2) {
          (bytes[index], bytes[index + 1]) = (UInt8(bits & 0xFF), UInt8(bits >> 8))
        }
        return true
      })
  }

  private func runMessage(_ model: AlteredModel) throws -> String {
    let sequences = try Variant("olmoe").sequences
    return message {
      let pass = try ForwardPass(model.model(), sequences: sequences, threads: 1)
      try pass.finish()
      _ = try pass.scores()
    }
  }

  @Test(
    arguments: [
      ("model.embed_tokens.weight", "[0, 0], so that the embedding gives"),
      ("model.layers.0.input_layernorm.weight", "[0]; use another"),
      ("model.layers.0.self_attn.v_proj.weight", "[0, 0], so that the attention of layer 0 gives"),
      ("model.layers.1.post_attention_layernorm.weight", "[0]; use another"),
      ("model.layers.1.mlp.gate.weight", "[0, 0]; use another"),
      (
        "model.layers.0.mlp.experts.0.down_proj.weight",
        "[0, 0], so that the output of layer 0 gives"
      ),
      (
        "model.layers.1.mlp.experts.0.down_proj.weight",
        "[0, 0], so that the output of layer 1 gives"
      ),
      ("model.norm.weight", "[0]; use another"),
      ("lm_head.weight", "[0, 0], so that the output head gives"),
    ], [UInt16(0x7FC0), 0x7F80])
  func `a weight that is NaN or infinite is named with its place`(
    place: (tensor: String, text: String), bits: UInt16
  ) throws {
    let text = try runMessage(filled(place.tensor, bits))
    let value = bits == 0x7F80 ? "Infinity" : "NaN"
    #expect(text.contains("\(place.tensor): holds \(value) at \(place.text)"), "\(text)")
  }

  @Test(arguments: [
    ("model.layers.0.self_attn.o_proj.weight", "the attention of layer 0"),
    ("model.layers.1.mlp.experts.0.down_proj.weight", "the output of layer 1"),
    ("lm_head.weight", "the output head"),
  ])
  func `finite weights that overflow are told from weights that are not finite`(
    place: (tensor: String, text: String)
  ) throws {
    let text = try runMessage(filled(place.tensor, 0x7F7F))
    #expect(
      text.contains("\(place.text): gives NaN or infinite activations from finite weights"),
      "\(text)")
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
    ("head_dim", 7, "head_dim: gives 7 of a head's 7 dimensions to rotate, expected an even"),
    (
      "rope_parameters",
      ["rope_type": "linear", "factor": 2.0, "partial_rotary_factor": 0.5]
        as [String: any Sendable],
      "partial_rotary_factor: gives 3 of a head's 6 dimensions to rotate"
    ),
    ("rope_parameters", [1], "rope_parameters: is [1], expected an object"),
    ("rms_norm_eps", -1e-5, "rms_norm_eps: is -1e-05, expected 0 or more"),
    ("hidden_act", "gelu", "only silu is supported; give router inputs that tools/capture.py"),
  ])
  func `a configuration that cannot be run is refused`(
    key: String, value: any Sendable, text: String
  ) throws {
    let altered = try AlteredModel("olmoe", config: { $0[key] = value })
    #expect(message { _ = try altered.model() }.contains(text))
  }

  @Test(arguments: ["NaN", "Infinity", "-Infinity"])
  func `a value that is no finite number is refused only where it is used`(value: String) throws {
    let altered = try AlteredModel("olmoe", config: { $0["unused_limit"] = 17.25 })
    let path = altered.directory.path("config.json")
    let text = try String(contentsOfFile: path, encoding: .utf8)
    func write(_ key: String) throws {
      let member = try #require(text.firstRange(of: try Regex("\"\(key)\" ?: ?[^,}]+")))
      let changed = text.replacingCharacters(in: member, with: "\"\(key)\": \(value)")
      try altered.directory.write(Array(changed.utf8), to: "config.json")
    }
    try write("unused_limit")
    _ = try altered.model()
    try write("rms_norm_eps")
    #expect(
      message { _ = try altered.model() }
        .contains("rms_norm_eps: is \(value), expected a finite number"))
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
    let counted = try pass.scores(.llama)[0].nll
    #expect(counted.count == 6)
    // A product's bits may depend on how many rows there are.
    for (found, position) in zip(counted, [4, 5, 6, 11, 12, 13]) {
      #expect(abs(found - all[position]) < 1e-5)
    }
    #expect(PerplexityProtocol.llamaWindows([1, 2, 3], length: 4, bos: nil).isEmpty)
  }
}
