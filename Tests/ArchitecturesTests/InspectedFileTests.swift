// SPDX-License-Identifier: Apache-2.0
//
// Families that Regate does not run: their GGUF files, as llama.cpp reads them, and experts in FP4.

import Architectures
import ByteStorage
import Checkpoints
import OrderedCollections
import Routing
import Tensors
import TestSupport
import Testing

@Suite("Files of families that are not run") struct InspectedFileTests {
  private static let sigmoid: [String: GGUFValue] = [
    "expert_gating_func": .uint32(2), "expert_weights_norm": .bool(true),
    "expert_weights_scale": .float32(2.5),
  ]

  private static func sigmoidRule(
    normalises: Bool = true, scale: Float = 2.5
  ) -> RoutingRule {
    RoutingRule(
      experts: 4, topK: 2, scoring: .sigmoid, normalise: normalises,
      normaliseGuard: .clamp(0x1p-14), scale: scale)
  }

  struct Case: Sendable, CustomTestStringConvertible {
    let architecture: String
    let settings: [String: GGUFValue]
    let layers: [Int]
    let bias: Bool
    let rule: RoutingRule
    var testDescription: String { architecture }
  }

  private static let leading: [String: GGUFValue] = ["leading_dense_block_count": .uint32(1)]

  private static let cases: [Case] =
    [
      Case(
        architecture: "deepseek4",
        settings: sigmoid.merging([
          "hash_layer_count": .uint32(1), "expert_gating_func": .uint32(4),
        ]) { $1 }, layers: [1], bias: true,
        rule: RoutingRule(
          experts: 4, topK: 2, scoring: .sqrtSoftplus, normalise: true,
          normaliseGuard: .clamp(0x1p-14), scale: 2.5)),
      Case(
        architecture: "hy_v3", settings: ["expert_weights_norm": .bool(true)], layers: [1],
        bias: true, rule: sigmoidRule(scale: 1)),
      Case(
        architecture: "lfm2moe", settings: sigmoid.merging(leading) { $1 }, layers: [1], bias: true,
        rule: sigmoidRule(scale: 1)),
      Case(
        architecture: "llama4", settings: ["interleave_moe_layer_step": .uint32(2)], layers: [1],
        bias: false, rule: sigmoidRule(normalises: false, scale: 1)),
      Case(
        architecture: "kimi-linear", settings: sigmoid.merging(leading) { $1 }, layers: [1],
        bias: true, rule: sigmoidRule()),
      Case(
        architecture: "bailingmoe", settings: ["expert_weights_norm": .bool(true)],
        layers: [0, 1], bias: false,
        rule: RoutingRule(
          experts: 4, topK: 2, scoring: .softmax, normalise: true,
          normaliseGuard: .clamp(0x1p-14))),
      Case(
        architecture: "hunyuan-moe", settings: [:], layers: [0, 1], bias: false,
        rule: RoutingRule(
          experts: 4, topK: 2, scoring: .softmax, normalise: true,
          normaliseGuard: .clamp(0x1p-14))),
    ]
    + ["minimax-m3", "afmoe", "bailingmoe2", "bailingmoe3", "exaone-moe"].map {
      Case(
        architecture: $0, settings: sigmoid.merging(leading) { $1 }, layers: [1], bias: true,
        rule: sigmoidRule())
    } + [
      Case(
        architecture: "step35", settings: sigmoid, layers: [1], bias: true, rule: sigmoidRule())
    ]

  @Test(arguments: cases)
  func `layers and rule are those that llama.cpp takes`(test: Case) throws {
    let layout = try ModelDraft.gguf(
      test.architecture, test.settings, layers: test.layers, bias: test.bias
    ).layout()
    #expect(layout.family.mixer == nil && layout.layers.map(\.index) == test.layers)
    #expect(layout.layers.allSatisfy { $0.rule == test.rule })
    #expect(layout.layers.allSatisfy { ($0.selectionBias != nil) == test.bias })
  }

  @Test func `experts without a gate, of projected inputs, are read`() throws {
    var draft = ModelDraft.gguf(
      "nemotron_h_moe", ["moe_latent_size": .uint32(5)], layers: [1], bias: true)
    draft.tensors["blk.1.ffn_gate_exps.weight"] = nil
    draft.add("blk.1.ffn_up_exps.weight", [4, 6, 5])
    draft.add("blk.1.ffn_down_exps.weight", [4, 5, 6])
    let layout = try draft.layout()
    #expect(layout.layers.map(\.index) == [1] && layout.layers[0].expertInputs == 5)
    draft.add("blk.1.ffn_gate_exps.weight", [4, 6, 5])
    let gated = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(gated?.subject == "blk.1.ffn_gate_exps.weight")
    draft.tensors["blk.1.ffn_gate_exps.weight"] = nil
    draft.add("blk.1.ffn_up_exps.weight", [4, 6, 8])
    let wide = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(wide?.subject == "blk.1.ffn_up_exps.weight" && wide?.code == .mismatch)
  }

  @Test func `a file of Kimi-K3 has experts of projected inputs`() throws {
    var draft = ModelDraft.gguf(
      "kimi-k3",
      Self.sigmoid.merging(Self.leading) { $1 }.merging(["expert_latent_length": .uint32(5)]) {
        $1
      },
      layers: [1], bias: true)
    draft.add("blk.1.ffn_gate_exps.weight", [4, 6, 5])
    draft.add("blk.1.ffn_up_exps.weight", [4, 6, 5])
    draft.add("blk.1.ffn_down_exps.weight", [4, 5, 6])
    let layout = try draft.layout()
    #expect(layout.layers.map(\.expertInputs) == [5] && layout.layers[0].rule == Self.sigmoidRule())
    #expect(layout.undecodable?.contains("compute SiTU") == true)
  }

  @Test func `a file of AFMoE without renormalisation is told of`() throws {
    let draft = ModelDraft.gguf("afmoe", Self.leading, layers: [1], bias: true)
    #expect(try draft.layout().warnings.contains { $0.contains("\"route_norm\": true") })
  }

  /// Of two families with one model type, the class tells.
  @Test func `a class is told from another one with its model type`() throws {
    var draft = ModelDraft.huggingFace(
      "bailing_moe",
      [
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6, "n_group": 1,
        "topk_group": 1, "architectures": ["BailingMoeV2ForCausalLM"],
        "moe_router_enable_expert_bias": true,
      ], bias: "mlp.gate.expert_bias")
    let layout = try draft.layout()
    #expect(layout.family.name == "bailing_moe_v2")
    #expect(layout.layers[0].rule.scoring == .sigmoid && layout.layers[0].selectionBias != nil)
    #expect(layout.warnings.count == 1 && layout.warnings[0].contains("trust_remote_code"))
    for (value, words) in [(JSONValue.bool(false), "false"), (nil, "absent")]
      as [(JSONValue?, String)]
    {
      draft.config["moe_router_enable_expert_bias"] = value
      let other = try draft.layout()
      // The bias is used all the same.
      #expect(other.layers[0].selectionBias != nil && other.warnings.count == 2)
      #expect(
        other.warnings[1].hasPrefix(
          "moe_router_enable_expert_bias is \(words): SGLang makes no selection bias then"))
    }
    draft.config["architectures"] = ["BailingMoeForCausalLM"]
    #expect(try draft.layout().family.name == "bailing_moe")
    #expect(try draft.layout().layers[0].rule.scoring == .softmax)
  }

  @Test func `a layer with experts and no router is told of`() throws {
    var draft = ModelDraft.gguf("step35", Self.sigmoid, layers: [1], bias: true)
    draft.tensors["blk.1.ffn_gate_inp.weight"] = nil
    let error = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(error?.subject == "blk.1.ffn_gate_inp.weight" && error?.code == .missing)
  }

  @Test func `a table's layers are left alone, and what belongs to experts goes with them`() throws
  {
    var draft = ModelDraft.gguf(
      "deepseek4",
      Self.sigmoid.merging([
        "hash_layer_count": .uint32(1), "expert_gating_func": .uint32(4),
        "swiglu_clamp_exp": .array(.float32([10, 10])),
      ]) { $1 }, layers: [0, 1], bias: true)
    draft.tensors["blk.0.exp_probs_b.bias"] = nil
    draft.add("blk.0.ffn_gate_tid2eid.weight", [20, 2], .i32)
    draft.add("blk.1.exp_probs_b_vl.bias", [4])
    let layout = try draft.layout()
    #expect(layout.tableLayers == [0] && layout.layers.map(\.index) == [1])
    #expect(layout.activation == .limitedSiLU(limit: 10))
    #expect(layout.layers[0].experts.contains { $0.name == "exp_probs_b_vl.bias" })
    draft.metadata["deepseek4.swiglu_clamp_exp"] = .array(.float32([10, 7]))
    #expect(try draft.layout().undecodable?.contains("otherwise in each layer") == true)
  }

  /// As DeepSeek-V4's are published: two values of FP4 in each I8, a power of two for 32 of them.
  @Test func `experts of FP4 in I8 are decoded`() throws {
    var draft = ModelDraft.huggingFace(
      "deepseek_v4",
      [
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
        "num_hash_layers": 0,
      ], gate: "ffn.gate", container: "ffn.experts", projections: ModelDraft.numbered, prefix: "",
      bias: "ffn.gate.bias")
    for name in draft.tensors.keys where name.contains(".experts.") {
      guard let shape = draft.tensors[name]?.shape else { continue }
      draft.add(name, [shape[0], shape[1] / 2], .i8)
      draft.add(name.replacing(".weight", with: ".scale"), [shape[0], 1], .f8e8m0)
    }
    let directory = try TemporaryDirectory()
    let checkpoint = try draft.safetensors(in: directory)
    let layout = try ModelLayout.read(checkpoint)
    #expect(layout.undecodable == nil && layout.layers.map(\.index) == [0, 1])
    let expert = try ExpertReader(checkpoint, layout: layout).packed(of: 1, in: layout.layers[0])
    #expect(expert.gate.columns == 8 && expert.down.columns == 6)
    draft.add("layers.1.ffn.experts.2.w3.weight", [6, 3], .i8)
    let error = #expect(throws: RegateError.self) { try draft.layout() }
    #expect(error?.subject == "layers.1.ffn.experts.2.w3.weight" && error?.code == .mismatch)
  }
}
