// SPDX-License-Identifier: Apache-2.0
//
// Gemma-4: parts that are not there or not as they should be, sub-variants that are not run, and
// the forms in which its configuration is published and saved.

import ByteStorage
import Checkpoints
import Foundation
import Inference
import OrderedCollections
import Tensors
import TestSupport
import Testing

@Suite("Gemma-4") struct Gemma4Tests {
  private static let layer = "model.layers.1."

  private func logits(_ model: InferenceModel, of name: String) throws -> Matrix {
    let variant = try Variant(name)
    let pass = try ForwardPass(model, sequences: variant.sequences, threads: 1)
    try pass.finish()
    return try pass.logits(at: Array(0..<variant.logits.rows))
  }

  @Test(arguments: [
    "layer_scalar", "router.scale", "router.per_expert_scale", "router.proj.weight",
    "experts.gate_up_proj", "experts.down_proj", "mlp.up_proj.weight",
    "pre_feedforward_layernorm.weight", "pre_feedforward_layernorm_2.weight",
    "post_feedforward_layernorm.weight", "post_feedforward_layernorm_1.weight",
    "post_feedforward_layernorm_2.weight", "post_attention_layernorm.weight",
    "self_attn.k_proj.weight", "self_attn.k_norm.weight",
  ])
  func `a part that is absent or misshapen is named`(part: String) throws {
    let name = Self.layer + part
    let (absent, misshapen) = try AlteredModel.refusals(of: "gemma4", part: name)
    #expect(absent?.subject == name && absent?.code == .missing)
    #expect(misshapen?.subject == name && misshapen?.code == .mismatch)
  }

  @Test func `values have a matrix where they are not the keys`() throws {
    let name = "model.layers.0.self_attn.v_proj.weight"
    let (absent, misshapen) = try AlteredModel.refusals(of: "gemma4", part: name)
    #expect(absent?.subject == name && misshapen?.subject == name)
    let apart = try AlteredModel("gemma4", config: { $0["attention_k_eq_v"] = false })
    #expect(apart.refusal()?.subject == Self.layer + "self_attn.v_proj.weight")
  }

  @Test(arguments: [
    ("enable_moe_block", "false"), ("enable_moe_block", nil),
    ("hidden_size_per_layer_input", "4"), ("hidden_size_per_layer_input", nil),
    ("num_kv_shared_layers", "1"), ("use_bidirectional_attention", "\"all\""),
    ("final_logit_softcapping", "0"), ("sliding_window", "0"), ("layer_types", "[\"x\", \"y\"]"),
    ("rope_scaling", "{\"rope_type\": \"linear\"}"), ("num_experts", nil), ("top_k_experts", nil),
    ("moe_intermediate_size", "null"),
    ("num_attention_heads", "3"), ("intermediate_size", "9"),
  ])
  func `a sub-variant that is not run is named`(key: String, value: String?) throws {
    let parsed = try value.map {
      try JSONSerialization.jsonObject(with: Data($0.utf8), options: .fragmentsAllowed)
    }
    let altered = try AlteredModel("gemma4", config: { $0[key] = parsed })
    let error = altered.refusal()
    // Key heads divide the query heads.
    let named = key == "num_attention_heads" ? "num_key_value_heads" : key
    #expect(error?.subject == named, "\(String(describing: error))")
  }

  @Test func `another activation is named`() throws {
    let altered = try AlteredModel("gemma4", config: { $0["hidden_activation"] = "silu" })
    let message = altered.refusal()?.description ?? ""
    #expect(message.contains("hidden_activation is silu, only gelu_pytorch_tanh is supported"))
  }

  @Test(arguments: [
    ("full_attention", "rope_type", "yarn"), ("full_attention", "rope_theta", nil),
    ("sliding_attention", nil, nil), ("full_attention", "partial_rotary_factor", "2"),
    ("full_attention", "factor", "0"),
  ])
  func `a rotation that is not known is named`(
    kind: String, key: String?, value: String?
  ) throws {
    let altered = try AlteredModel(
      "gemma4",
      config: { config in
        var rotation = config["rope_parameters"] as? [String: Any] ?? [:]
        var own = rotation[kind] as? [String: Any] ?? [:]
        if let key { own[key] = value.map { text -> Any in Double(text) ?? text } }
        rotation[kind] = key == nil ? nil : own
        config["rope_parameters"] = rotation
      })
    let suffix = key.map { ".\(kind).\($0)" } ?? ""
    #expect(altered.refusal()?.subject == "rope_parameters" + suffix)
  }

  @Test func `sizes for one layer are taken, and nothing else of it`() throws {
    let other = try AlteredModel(
      "gemma4",
      config: { $0["per_layer_config"] = ["1": ["head_dim": 12, "rms_norm_eps": 1e-5]] })
    #expect(other.refusal()?.subject == "per_layer_config.1.rms_norm_eps")
    let uneven = try AlteredModel(
      "gemma4", config: { $0["layer_types"] = ["full_attention", "full_attention"] })
    #expect(uneven.refusal()?.subject == "per_layer_config")
    let published = try AlteredModel(
      "gemma4",
      config: {
        $0["per_layer_config"] = nil
        $0["global_head_dim"] = 12
        $0["num_global_key_value_heads"] = 1
        $0["layer_types"] = ["sliding_attention", "sliding_attention"]
      })
    let found = try logits(try published.model(), of: "gemma4")
    #expect(found.largestDifference(to: try Variant("gemma4").logits) < 3e-5)
  }

  @Test func `a rotation of the class's own stands for one that is not written`() throws {
    let written: [String: Any] = [
      "sliding_attention": ["rope_type": "default", "rope_theta": 10_000],
      "full_attention": [
        "rope_type": "proportional", "rope_theta": 1_000_000, "partial_rotary_factor": 0.25,
      ],
    ]
    let all = try [written, nil].map { rotation in
      let altered = try AlteredModel("gemma4", config: { $0["rope_parameters"] = rotation })
      return try logits(try altered.model(), of: "gemma4")
    }
    #expect(all[0] == all[1])
    #expect(all[0] != (try logits(try Variant("gemma4").model, of: "gemma4")))
  }

  @Test func `a router's scale of 0 is named, from which no input of an expert follows`() throws {
    let name = Self.layer + "router.scale"
    let altered = try AlteredModel(
      "gemma4",
      tensors: { found, _, _, bytes in
        if found == name { bytes.replaceSubrange(4..<6, with: [0, 0]) }
        return true
      })
    let error = altered.refusal()
    #expect(error?.subject == name && error?.problem.contains("[2]") == true)
  }

  @Test(arguments: [
    "rope_freqs.weight", "blk.1.ffn_gate_inp.scale", "blk.1.pre_ffw_norm_2.weight",
    "blk.0.post_ffw_norm_1.weight", "blk.1.post_attention_norm.weight", "blk.1.ffn_up.weight",
    "blk.0.attn_k.weight",
  ])
  func `a part of a GGUF file that is absent or misshapen is named`(part: String) throws {
    let absent = try AlteredGGUF("gguf-gemma4") { header in
      let place = header.tensors.firstIndex { $0.name == part }
      if let place { header.tensors[place].name = "other.weight" }
    }
    #expect(absent.refusal()?.subject == part && absent.refusal()?.code == .missing)
    let misshapen = try AlteredGGUF("gguf-gemma4") { header in
      let place = header.tensors.firstIndex { $0.name == part }
      if let place { header.tensors[place].shape[header.tensors[place].shape.count - 1] += 1 }
    }
    let named = part == "rope_freqs.weight" ? "gemma4.rope.dimension_count" : part
    #expect(misshapen.refusal()?.subject == named && misshapen.refusal()?.code == .mismatch)
  }

  @Test(arguments: [
    ("embedding_length_per_layer_input", GGUFValue.uint32(8)),
    ("attention.shared_kv_layers", .uint32(1)), ("rope.scaling.type", .string("yarn")),
    ("attention.value_length_swa", .uint32(6)), ("attention.sliding_window", .uint32(0)),
    ("attention.sliding_window_pattern", .uint32(6)), ("rope.dimension_count_swa", .uint32(9)),
    ("rope.freq_base_swa", .float32(0)), ("final_logit_softcapping", .float32(-1)),
  ])
  func `a key of a GGUF file that is not run is named`(key: String, value: GGUFValue) throws {
    let altered = try AlteredGGUF("gguf-gemma4") { $0.metadata["gemma4." + key] = value }
    #expect(altered.refusal()?.subject == "gemma4." + key)
  }

  @Test func `a GGUF file may do without scales of outputs, which are 1 then`() throws {
    func nll(_ change: (inout GGUFHeader) -> Void) throws -> Double {
      let model = try AlteredGGUF("gguf-gemma4", change).model()
      let pass = try ForwardPass(
        model, sequences: try Variant("gguf-gemma4").sequences, threads: 1)
      try pass.finish()
      return try pass.scores()[0].meanNLL
    }
    let whole = try nll { _ in }
    for scale in ["ffn_down_exps.scale", "layer_output_scale.weight"] {
      let without = try nll { header in
        for place in header.tensors.indices where header.tensors[place].name.hasSuffix(scale) {
          header.tensors[place].name = "unused.\(place)"
        }
      }
      #expect(without != whole)
    }
    #expect(try nll { $0.metadata["gemma4.final_logit_softcapping"] = .float32(0) } != whole)
    let absent = try nll { $0.metadata["gemma4.final_logit_softcapping"] = nil }
    #expect(try nll { $0.metadata["gemma4.final_logit_softcapping"] = .float32(30) } == absent)
  }
}
