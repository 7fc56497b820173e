// SPDX-License-Identifier: Apache-2.0
//
// Granite-MoE, ERNIE-4.5, dots1 and Phi-3.5-MoE: parts that are not there or not as they should be,
// and configurations that are not computed.

import ByteStorage
import Foundation
import Inference
import Tensors
import TestSupport
import Testing

@Suite("Parts of families") struct FamilyPartTests {
  struct Part: CustomTestStringConvertible {
    let variant: String
    let name: String

    init(_ variant: String, _ name: String) {
      self.variant = variant
      self.name = name
    }

    var testDescription: String { "\(variant): \(name)" }
  }

  @Test(arguments: [
    Part("granite", "model.layers.1.shared_mlp.output_linear.weight"),
    Part("phi", "lm_head.bias"), Part("phi", "model.norm.bias"),
    Part("phi", "model.layers.1.post_attention_layernorm.bias"),
    Part("phi", "model.layers.0.self_attn.o_proj.bias"),
    Part("dots1", "model.layers.1.self_attn.k_norm.weight"),
    Part("dots1", "model.layers.0.self_attn.v_proj.bias"),
  ])
  func `a part that is absent or misshapen is named`(part: Part) throws {
    let (absent, misshapen) = try AlteredModel.refusals(of: part.variant, part: part.name)
    #expect(absent?.subject == part.name && absent?.code == .missing)
    #expect(misshapen?.subject == part.name && misshapen?.code == .mismatch)
  }

  @Test func `gate and up of unequal width in one matrix are named`() throws {
    let part = "model.layers.0.shared_mlp.input_linear.weight"
    let altered = try AlteredModel(
      "granite",
      tensors: { name, _, shape, bytes in
        if name == part {
          bytes.removeLast(bytes.count / shape[0])
          shape[0] -= 1
        }
        return true
      })
    let error = altered.refusal()
    #expect(error?.subject == part && error?.code == .mismatch)
  }

  @Test func `a shared expert that the configuration asks for is missed`() throws {
    let altered = try AlteredModel(
      "granite", tensors: { name, _, _, _ in !name.contains("shared_mlp") })
    let error = altered.refusal()
    let input = "model.layers.0.shared_mlp.input_linear.weight"
    #expect(error?.code == .missing && error?.subject == input)
    let narrow = try AlteredModel("granite", config: { $0["shared_intermediate_size"] = 4 })
    #expect(narrow.refusal()?.subject == "shared_intermediate_size")
  }

  @Test func `a granitemoe has no shared experts, as its class has none`() throws {
    func altered(sharing: Bool) throws -> AlteredModel {
      try AlteredModel(
        "granite", config: { $0["model_type"] = "granitemoe" },
        tensors: { name, _, _, _ in sharing || !name.contains("shared_mlp") })
    }
    let error = try altered(sharing: true).refusal()
    #expect(error?.subject == "model_type" && error?.code == .mismatch)
    #expect(error?.advice?.contains("granitemoeshared") == true)
    // The key of their width says nothing.
    _ = try altered(sharing: false).model()
  }

  @Test func `shared experts of no width are none`() throws {
    func logits(stored: Bool) throws -> Matrix {
      let model = try AlteredModel(
        "dots1", config: { $0["n_shared_experts"] = 0 },
        tensors: { name, _, shape, bytes in
          guard name.contains("shared_experts") else { return true }
          shape[name.contains("down_proj") ? 1 : 0] = 0
          bytes = []
          return stored
        }
      ).model()
      let variant = try Variant("dots1")
      let pass = try ForwardPass(model, sequences: variant.sequences, threads: 1)
      try pass.finish()
      return try pass.logits(at: Array(0..<variant.logits.rows))
    }
    let without = try logits(stored: false)
    #expect(try logits(stored: true).values == without.values)
    #expect(without.largestDifference(to: try Variant("dots1").logits) > 0.01)
  }

  @Test(arguments: [
    ("granite", "logits_scaling", "0"), ("granite", "attention_multiplier", "0.0"),
    ("granite", "residual_multiplier", "null"),
    ("granite", "attention_multiplier", "\"1\""), ("ernie", "use_bias", "true"),
    ("dots1", "sliding_window", "0"), ("phi", "lm_head_bias", "null"),
    ("mistral4", "head_dim", "7"),
  ])
  func `a value that is not computed is named`(
    variant: String, key: String, value: String
  ) throws {
    let parsed = try JSONSerialization.jsonObject(
      with: Data(value.utf8), options: .fragmentsAllowed)
    let altered = try AlteredModel(variant, config: { $0[key] = parsed })
    #expect(altered.refusal()?.subject == key)
  }

  @Test(arguments: [("rope_type", "yarn"), ("short_mscale", nil)])
  func `Phi rotates by longrope with a multiplier, or not scaled`(
    key: String, value: String?
  ) throws {
    let altered = try AlteredModel(
      "phi",
      config: { config in
        var scaling = config["rope_parameters"] as? [String: Any] ?? [:]
        scaling[key] = value
        config["rope_parameters"] = scaling
      })
    #expect(altered.refusal()?.subject == "rope_parameters." + key)
  }

  @Test(arguments: ["phi", "gguf-phi"])
  func `Phi's sequences are no longer than its original context`(name: String) throws {
    let model = try Variant(name).model
    func run(_ length: Int) throws {
      let ids = (0..<length).map { $0 % 20 }
      try ForwardPass(model, sequences: [ids], threads: 1).finish()
    }
    try run(32)
    let error = #expect(throws: RegateError.self) { try run(33) }
    #expect(error?.description.contains("beyond 32 tokens") == true)
  }

  @Test func `layer_types says which layers of a dots1 have a window`() throws {
    let variant = try Variant("dots1")
    let altered = try AlteredModel(
      "dots1",
      config: {
        $0["layer_types"] = nil
        $0["max_window_layers"] = 1
      })
    let pass = try ForwardPass(try altered.model(), sequences: variant.sequences, threads: 1)
    try pass.finish()
    let logits = try pass.logits(at: Array(0..<variant.logits.rows))
    #expect(logits.largestDifference(to: variant.logits) < VariantTests.logitTolerance)
    let without = try AlteredModel("dots1", config: { $0["sliding_window"] = NSNull() })
    #expect(without.refusal()?.subject == "layer_types")
  }
}
